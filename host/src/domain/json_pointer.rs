//! JSON pointers (RFC 6901).

/// Writes a name as a reference token of a pointer, without the `/` before it (§3).
pub fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
