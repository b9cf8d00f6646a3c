//! The sources of keys: an issuer's discovery document, a URL or a file.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use super::keys::KeySet;
use crate::outbound::{MAX_UNGUARDED_ANSWER_BYTES, UnguardedClient};

/// The location of a JWK Set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeySource {
    /// An issuer. Its discovery document is read for each fetch, since the `jwks_uri` may change too.
    Issuer(String),
    /// The URL of a JWK Set.
    Url(String),
    /// The file of a JWK Set.
    File(PathBuf),
}

/// The used members of a discovery document (OpenID Connect Discovery 1.0 §3, RFC 8414 §2).
#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
}

impl KeySource {
    /// Parses the value of `--oauth-jwks`.
    pub(super) fn of_jwks(text: &str) -> Self {
        if is_https(text) || has_scheme(text, "http://") { Self::Url(text.to_owned()) } else { Self::File(text.into()) }
    }

    /// Fetches the current keys.
    pub(super) async fn fetch(&self, http: UnguardedClient) -> Result<KeySet, String> {
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
                reading.await.map_err(|_| "the file could not be read")?
            }
        }
    }
}

/// Reads at most [`MAX_UNGUARDED_ANSWER_BYTES`]: a longer file is no JWK Set, and its beginning fails to parse.
fn read_file(path: &PathBuf) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_UNGUARDED_ANSWER_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

async fn get_keys(http: UnguardedClient, url: &str) -> Result<KeySet, String> {
    KeySet::read(&get(http, url).await?).map_err(|error| format!("{url}: {error}"))
}

async fn get(http: UnguardedClient, url: &str) -> Result<bytes::Bytes, String> {
    match http.get(url).await {
        Ok(answer) if answer.status == 200 => Ok(answer.body),
        Ok(answer) => Err(format!("{url}: answered {}", answer.status)),
        Err(error) => Err(format!("{url}: {error}")),
    }
}

/// Returns the issuer's `jwks_uri`.
async fn discover(http: UnguardedClient, issuer: &str) -> Result<String, String> {
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
    let document: DiscoveryDocument =
        serde_json::from_slice(body).map_err(|error| format!("not a discovery document: {error}"))?;
    // Otherwise the document of one tenant could be used for another (OpenID Connect Discovery 1.0 §4.3).
    if document.issuer != issuer {
        let other = document.issuer.escape_debug();
        return Err(format!(
            "the document's issuer is {other}; if that is the intended issuer, set --oauth-issuer to exactly this"
        ));
    }
    if is_https(issuer) && !is_https(&document.jwks_uri) {
        return Err("the document's jwks_uri is not https, so the keys could be replaced in transit".into());
    }
    Ok(document.jwks_uri)
}

fn is_https(url: &str) -> bool {
    has_scheme(url, "https://")
}

fn has_scheme(url: &str, scheme: &str) -> bool {
    url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// Returns the URLs where the document may be: OpenID Connect appends the well-known path to the issuer's path, and
/// RFC 8414 §3.1 puts it before the issuer's path.
fn well_known(issuer: &str) -> Result<[String; 2], String> {
    let mut url = check_issuer(issuer)?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{path}/.well-known/openid-configuration"));
    let openid = url.to_string();
    url.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    Ok([openid, url.to_string()])
}

/// Checks that an issuer is an http or https URL without query and fragment (RFC 8414 §2).
pub(super) fn check_issuer(issuer: &str) -> Result<Url, String> {
    let url = Url::parse(issuer).map_err(|error| format!("`{issuer}` is not a URL: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.query().is_none() && url.fragment().is_none() => Ok(url),
        _ => Err(format!("`{issuer}` is not an issuer: it must be an https URL without query and fragment")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_two_possible_urls() {
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
    fn oauth_jwks_is_a_url_or_a_file() {
        assert_eq!(KeySource::of_jwks("HTTPS://id/keys"), KeySource::Url("HTTPS://id/keys".into()));
        assert_eq!(KeySource::of_jwks("http://id/keys"), KeySource::Url("http://id/keys".into()));
        assert_eq!(KeySource::of_jwks("keys/jwks.json"), KeySource::File("keys/jwks.json".into()));
        assert_eq!(KeySource::of_jwks("/é"), KeySource::File("/é".into()));
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
