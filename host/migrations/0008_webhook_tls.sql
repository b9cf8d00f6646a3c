-- What a webhook says about the certificate of its receiver. NULL in both: what the service trusts.
ALTER TABLE webhooks ADD COLUMN tls_ca TEXT;            -- certificates in PEM
ALTER TABLE webhooks ADD COLUMN tls_pin_sha256 TEXT;    -- SHA-256 of the public key, in hex
