//! A policy as a request sends it.

use serde::Deserialize;

use crate::api::webhooks::{TransformFields, broken_transforms, transforms};
use crate::domain::Invalid;
use crate::domain::policy::{Policy, check_types};
use crate::domain::transform::OnError;

/// The only position: after the transforms of the webhook.
pub(super) const LAST: &str = "last";

/// The body of `PUT /policies/{name}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFields {
    types: Vec<String>,
    transforms: Vec<TransformFields>,
    #[serde(default)]
    position: Option<String>,
}

impl PolicyFields {
    /// Checks the rules of a policy.
    ///
    /// # Errors
    /// Every broken rule.
    pub(super) fn check(self) -> Result<Self, Vec<Invalid>> {
        let types = check_types(&self.types).err().map(|(index, detail)| {
            let pointer = index.map_or_else(|| "/types".to_owned(), |index| format!("/types/{index}"));
            Invalid::at(pointer, detail)
        });
        let mut errors: Vec<_> = types.into_iter().chain(broken_transforms(&self.transforms)).collect();
        if self.transforms.is_empty() {
            errors.push(Invalid::at("/transforms", "a policy needs at least one transform; DELETE removes a policy"));
        }
        for (index, transform) in self.transforms.iter().enumerate() {
            if transform.on_error().is_some_and(|on_error| on_error != OnError::Retry) {
                let detail = "a policy never sends without its transforms: leave this out, or set it to `retry`";
                errors.push(Invalid::at(format!("/transforms/{index}/on_error"), detail));
            }
        }
        if self.position.as_deref().is_some_and(|position| position != LAST) {
            let detail = "the only position is `last`: a policy runs after the transforms of the webhook";
            errors.push(Invalid::at("/position", detail));
        }
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }

    /// Returns the policy. Its rules must have been checked.
    pub(super) fn policy(self, company: String, name: String, now: i64) -> Policy {
        let transforms = transforms(&self.transforms);
        Policy { company, name, types: self.types, transforms, created_at: now, updated_at: now }
    }
}
