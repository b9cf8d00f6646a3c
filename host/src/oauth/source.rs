//! Where the keys come from: an issuer's discovery document, a URL or a file.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use super::keys::KeySet;
use crate::outbound::{MAX_PLAIN_ANSWER_BYTES, Plain};

/// The place of a JWK Set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Asked for its `jwks_uri` each time, since that may change as well.
    Issuer(String),
    Url(String),
    File(PathBuf),
}

/// What is read of a discovery document (OpenID Connect Discovery 1.0 §3, RFC 8414 §2).
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

impl Source {
    /// Reads `--oauth-jwks`.
    pub(super) fn of_jwks(text: &str) -> Self {
        if is_https(text) || has_scheme(text, "http://") { Self::Url(text.to_owned()) } else { Self::File(text.into()) }
    }

    /// Reads the keys as they are now.
    pub(super) async fn fetch(&self, http: Plain) -> Result<KeySet, String> {
        match self {
            Self::Issuer(issuer) => {
                let url = discover(http, issuer).await?;
                get_keys(http, &url).await
            }
            Self::Url(url) => get_keys(http, url).await,
            Self::File(path) => {
                let path = path.clone();
                let reading = tokio::task::spawn_blocking(move || {
                    let bytes = read_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                    KeySet::read(&bytes).map_err(|error| format!("{}: {error}", path.display()))
                });
                reading.await.map_err(|_| "reading the file broke off")?
            }
        }
    }
}

/// A file with more than this is no JWK Set: what was read of it will not be JSON.
fn read_file(path: &PathBuf) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_PLAIN_ANSWER_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

async fn get_keys(http: Plain, url: &str) -> Result<KeySet, String> {
    KeySet::read(&get(http, url).await?).map_err(|error| format!("{url}: {error}"))
}

async fn get(http: Plain, url: &str) -> Result<bytes::Bytes, String> {
    match http.get(url).await {
        Ok((200, body)) => Ok(body),
        Ok((status, _)) => Err(format!("{url}: answered {status}")),
        Err(error) => Err(format!("{url}: {error}")),
    }
}

/// The issuer's `jwks_uri`.
async fn discover(http: Plain, issuer: &str) -> Result<String, String> {
    let mut failures = Vec::new();
    for url in well_known(issuer)? {
        let document = get(http, &url).await;
        match document.and_then(|body| read_document(&body, issuer).map_err(|error| format!("{url}: {error}"))) {
            Ok(jwks) => return Ok(jwks),
            Err(error) => failures.push(error),
        }
    }
    Err(failures.join("; "))
}

fn read_document(body: &[u8], issuer: &str) -> Result<String, String> {
    let document: Document = serde_json::from_slice(body).map_err(|error| format!("no discovery document: {error}"))?;
    // Else a document of one tenant could stand for another (OpenID Connect Discovery 1.0 §4.3).
    if document.issuer != issuer {
        let other = document.issuer.escape_debug();
        return Err(format!("the document's issuer is {other}; write --oauth-issuer exactly so if that is the one"));
    }
    if is_https(issuer) && !is_https(&document.jwks_uri) {
        return Err("the document's jwks_uri is not https, so anyone on the way could put other keys there".into());
    }
    Ok(document.jwks_uri)
}

fn is_https(url: &str) -> bool {
    has_scheme(url, "https://")
}

fn has_scheme(url: &str, scheme: &str) -> bool {
    url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// Where the document may be: OpenID Connect appends to the issuer, RFC 8414 §3.1 puts its path behind.
fn well_known(issuer: &str) -> Result<[String; 2], String> {
    let mut url = check_issuer(issuer)?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{path}/.well-known/openid-configuration"));
    let openid = url.to_string();
    url.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    Ok([openid, url.to_string()])
}

/// An issuer is an http or https URL without query and fragment (RFC 8414 §2).
pub(super) fn check_issuer(issuer: &str) -> Result<Url, String> {
    let url = Url::parse(issuer).map_err(|error| format!("`{issuer}` is not a URL: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.query().is_none() && url.fragment().is_none() => Ok(url),
        _ => Err(format!("`{issuer}` is no issuer: write an https URL without query and fragment")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_looked_for_in_both_places() {
        let [openid, rfc] = well_known("https://id.example").unwrap();
        assert_eq!(openid, "https://id.example/.well-known/openid-configuration");
        assert_eq!(rfc, "https://id.example/.well-known/oauth-authorization-server");
        let [openid, rfc] = well_known("https://id.example:444/realms/a/").unwrap();
        assert_eq!(openid, "https://id.example:444/realms/a/.well-known/openid-configuration");
        assert_eq!(rfc, "https://id.example:444/.well-known/oauth-authorization-server/realms/a");
        for bad in ["id.example", "ftp://id.example", "https://id.example?x", "https://id.example#x", ""] {
            assert!(well_known(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn jwks_is_a_url_or_a_file() {
        assert_eq!(Source::of_jwks("HTTPS://id/keys"), Source::Url("HTTPS://id/keys".into()));
        assert_eq!(Source::of_jwks("keys/jwks.json"), Source::File("keys/jwks.json".into()));
        assert_eq!(Source::of_jwks("/é"), Source::File("/é".into()));
    }

    #[test]
    fn a_document_of_another_issuer_is_refused() {
        let document = br#"{"issuer": "https://evil", "jwks_uri": "https://evil/keys", "more": 1}"#;
        assert!(read_document(document, "https://id").unwrap_err().contains("https://evil"));
        assert_eq!(read_document(document, "https://evil").unwrap(), "https://evil/keys");
        let downgraded = br#"{"issuer": "https://id", "jwks_uri": "http://id/keys"}"#;
        assert!(read_document(downgraded, "https://id").unwrap_err().contains("not https"));
    }
}
