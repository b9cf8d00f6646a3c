//! The dependency rules between the rooms of the host, the modules at the top of `host/src`:
//! `main → cli → lib → api, delivery → store, sandbox, oauth, outbound → domain`.

use std::path::Path;

use super::Violation;
use crate::source::{PathUse, Source};

/// A room and the rooms that it may name, besides itself and the leaves.
const MAY_NAME: [(&str, &[&str]); 10] = [
    ("main", &["cli"]),
    ("cli", &["lib", "api", "delivery", "store", "sandbox", "outbound", "domain"]),
    ("lib", &["api", "delivery", "store", "sandbox", "oauth", "outbound", "domain"]),
    ("api", &["delivery", "store", "sandbox", "oauth", "outbound", "domain"]),
    ("delivery", &["store", "sandbox", "outbound", "domain"]),
    ("store", &["domain"]),
    ("sandbox", &["domain"]),
    ("oauth", &["outbound", "domain"]),
    ("outbound", &["domain"]),
    ("domain", &[]),
];

/// Modules that every room except `domain` may name; they may name each other and `domain`.
const LEAVES: [&str; 5] = ["clock", "config", "metrics", "shares", "telemetry"];

/// A crate and the modules that may use it.
const CRATES: [(&str, &[&str]); 7] = [
    ("sqlx", &["store"]),
    ("wasmtime", &["sandbox"]),
    ("wit_component", &["sandbox"]),
    ("wasmparser", &["sandbox"]),
    ("reqwest", &["outbound"]),
    ("jsonwebtoken", &["oauth"]),
    ("axum", &["api", "lib", "cli::listen", "cli::demo"]),
];

/// Checks one file; files outside `host/src` have no room.
pub(crate) fn check(source: &Source<'_>) -> Vec<Violation> {
    let Ok(file) = source.path.strip_prefix("host/src") else { return Vec::new() };
    let module = module_of(file);
    let room = room_of(&module);
    let broken = |path: &PathUse<'_>| {
        let what = match absolute(&module, path) {
            Some(inside) => forbidden_room(room, inside)?,
            None => forbidden_crate(&module, room, path.segments.first()?)?,
        };
        Some(Violation { path: source.path.clone(), line: path.line, what })
    };
    source.paths().iter().filter_map(broken).collect()
}

/// A module at the top that is not a room wires the rooms together and belongs to `lib`.
fn room_of(module: &[String]) -> &str {
    module.first().map_or("lib", |first| known(first))
}

/// The binary is a crate of its own, which reaches the library as `posthaste::…`.
fn module_of(file: &Path) -> Vec<String> {
    if file == Path::new("main.rs") { vec!["main".to_owned()] } else { Source::module_of(file) }
}

fn known(name: &str) -> &str {
    let is_room = MAY_NAME.iter().any(|(room, _)| *room == name) || LEAVES.contains(&name);
    if is_room { name } else { "lib" }
}

/// Returns the first name below the crate's root, for a path that reaches the root by `crate` or by `super`.
fn absolute<'p>(module: &[String], path: &'p PathUse<'_>) -> Option<&'p str> {
    let segments = path.segments.as_slice();
    let (first, rest) = segments.split_first()?;
    if *first == "crate" || (*first == "posthaste" && module.first().is_some_and(|file| file == "main")) {
        return rest.first().copied();
    }
    let supers = segments.iter().skip(usize::from(*first == "self")).take_while(|segment| **segment == "super").count();
    let reaches_root = supers > 0 && supers == module.len() + path.nesting;
    let below = segments.iter().find(|segment| **segment != "super" && **segment != "self");
    below.copied().filter(|_| reaches_root)
}

fn forbidden_room(room: &str, named: &str) -> Option<String> {
    let to = known(named);
    let (from_leaf, to_leaf) = (LEAVES.contains(&room), LEAVES.contains(&to));
    let allowed = MAY_NAME.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, allowed)| *allowed);
    let fine = room == to
        || (to_leaf && room != "domain")
        || (from_leaf && to == "domain")
        || allowed.contains(&to)
        || named == "*" && room == "lib";
    if fine {
        return None;
    }
    let may = if from_leaf { "domain and the leaves".to_owned() } else { listed(allowed) };
    Some(format!(
        "`{room}` names `crate::{named}`, but it may name {may}: dependencies go one way (ARCHITECTURE.md); \
         move the code, or pass what it needs as an argument"
    ))
}

fn listed(rooms: &[&str]) -> String {
    if rooms.is_empty() { "no other room".into() } else { format!("only {} and the leaves", rooms.join(", ")) }
}

fn forbidden_crate(module: &[String], room: &str, named: &str) -> Option<String> {
    let (_, allowed) = CRATES.iter().find(|(name, _)| *name == named)?;
    let inside = |place: &&str| {
        let place: Vec<_> = place.split("::").collect();
        *place == [room] || (module.len() >= place.len() && place.iter().zip(module).all(|(a, b)| a == b))
    };
    if allowed.iter().any(inside) {
        return None;
    }
    Some(format!(
        "`{named}` is used outside {}, which wraps it (ARCHITECTURE.md): call its functions, or add one there",
        allowed.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(file: &str, text: &str) -> Vec<String> {
        check(&Source::read(Path::new(file), text))
            .iter()
            .map(|found| format!("{}: {}", found.line, found.what))
            .collect()
    }

    #[track_caller]
    fn refused(file: &str, text: &str, start: &str) {
        let found = complaints(file, text);
        assert!(found.len() == 1 && found[0].contains(start), "{file}: {text}: {found:?}");
    }

    #[track_caller]
    fn allowed(file: &str, text: &str) {
        assert_eq!(complaints(file, text), [""; 0], "{file}: {text}");
    }

    #[test]
    fn dependencies_go_one_way() {
        refused("host/src/domain/event.rs", "use crate::store::Store;", "1: `domain` names `crate::store`");
        refused("host/src/domain.rs", "\nuse crate::clock::Clock;", "2: `domain` names `crate::clock`");
        refused("host/src/store/keys.rs", "fn f(_: crate::sandbox::X) {}", "`store` names `crate::sandbox`");
        refused("host/src/sandbox.rs", "use crate::{domain, outbound::X};", "`sandbox` names `crate::outbound`");
        refused("host/src/outbound/guard.rs", "use crate::delivery;", "`outbound` names `crate::delivery`");
        refused("host/src/oauth/ring.rs", "use crate::store::X;", "`oauth` names `crate::store`");
        refused("host/src/delivery/send.rs", "use crate::api::X;", "`delivery` names `crate::api`");
        refused("host/src/sandbox/pool.rs", "use crate::delivery::X;", "`sandbox` names `crate::delivery`");
        refused("host/src/api.rs", "use crate::cli::Cli;", "`api` names `crate::cli`");
        refused("host/src/lib.rs", "use crate::cli::Cli;", "`lib` names `crate::cli`");
        refused("host/src/config.rs", "use crate::store::X;", "`config` names `crate::store`");
        refused("host/src/main.rs", "use posthaste::store::X;", "`main` names `crate::store`");

        allowed("host/src/main.rs", "use posthaste::cli::Cli;");
        allowed("host/src/cli/keys.rs", "use crate::{config, domain::id, outbound, sandbox, store::Store, Service};");
        allowed("host/src/server.rs", "use crate::api; use crate::delivery::Engine; use crate::secret_key;");
        allowed("host/src/api/events.rs", "use crate::{delivery, sandbox, store}; use crate::api::auth;");
        allowed("host/src/delivery.rs", "use crate::{clock, domain, outbound, sandbox, store, telemetry};");
        allowed("host/src/api/events.rs", "use crate::delivery;");
        allowed("host/src/config.rs", "use crate::domain::retry; use crate::clock;");
        allowed("tests/harness/lib.rs", "use crate::store; use sqlx::Row;");
    }

    #[test]
    fn rooms_may_not_name_modules_of_lib() {
        refused("host/src/api/health.rs", "use crate::Service;", "`api` names `crate::Service`");
        refused("host/src/store.rs", "use crate::server::Server;", "`store` names `crate::server`");
    }

    #[test]
    fn a_path_by_super_is_checked_too() {
        refused("host/src/store.rs", "use super::sandbox::X;", "`store` names `crate::sandbox`");
        refused("host/src/store/a/b.rs", "use super::super::super::api;", "`store` names `crate::api`");
        refused("host/src/store.rs", "mod tests { use super::super::outbound; }", "`store` names `crate::outbound`");
        refused("host/src/store.rs", "use self::super::api;", "`store` names `crate::api`");
        allowed("host/src/store/api.rs", "use super::sandbox; mod tests { use super::super::outbound; }");
        allowed("host/src/store.rs", "mod tests { use super::*; }");
    }

    #[test]
    fn each_wrapped_crate_is_used_only_in_its_room() {
        refused("host/src/api/events.rs", "use sqlx::Row;", "`sqlx` is used outside store");
        refused("host/src/delivery.rs", "use wasmtime::Engine;", "`wasmtime` is used outside sandbox");
        refused("host/src/cli/plugin_build.rs", "fn f() { wasmparser::x() }", "`wasmparser` is used outside sandbox");
        refused("host/src/cli/keys.rs", "use axum;", "`axum` is used outside api, lib");
        refused("host/src/domain/x.rs", "#[derive(sqlx::FromRow)] struct X;", "`sqlx` is used outside store");
        refused("host/src/api/auth.rs", "use jsonwebtoken::decode;", "`jsonwebtoken` is used outside oauth");
        allowed("host/src/oauth/keys.rs", "use jsonwebtoken::jwk; use crate::outbound::UnguardedClient;");
        allowed("host/src/store/keys.rs", "use sqlx::Row;");
        allowed("host/src/sandbox/bindings/v0_1.rs", "use wasmtime::component::bindgen; use wit_component::X;");
        allowed("host/src/outbound/client.rs", "use reqwest::Client;");
        for file in ["lib.rs", "server.rs", "api/x.rs", "cli/listen.rs", "cli/demo/receiver.rs", "cli/demo.rs"] {
            allowed(&format!("host/src/{file}"), "use axum::Router;");
        }
    }
}
