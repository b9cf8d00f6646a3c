//! A policy as the API shows it.

use serde::Serialize;

use crate::api::webhooks::TransformView;
use crate::domain::policy::Policy;
use crate::domain::time::rfc3339;
use crate::domain::webhook::{MAX_INLINE_CHAIN_CONFIG_BYTES, MAX_INLINE_CONFIG_BYTES};

use super::fields::LAST;

#[derive(Serialize)]
pub(in crate::api) struct PolicyView {
    name: String,
    company: String,
    types: Vec<String>,
    position: &'static str,
    transforms: Vec<TransformView>,
    created_at: String,
    updated_at: String,
}

impl PolicyView {
    /// Shows it in a list, where large configs are left out.
    pub(super) fn brief(policy: &Policy) -> Self {
        Self::new(policy, MAX_INLINE_CHAIN_CONFIG_BYTES)
    }

    /// Shows it alone.
    pub(super) fn whole(policy: &Policy) -> Self {
        Self::new(policy, MAX_INLINE_CONFIG_BYTES)
    }

    fn new(policy: &Policy, most_bytes: usize) -> Self {
        Self {
            name: policy.name.clone(),
            company: policy.company.clone(),
            types: policy.types.clone(),
            position: LAST,
            transforms: policy.transforms().map(|transform| TransformView::new(transform, most_bytes)).collect(),
            created_at: rfc3339(policy.created_at),
            updated_at: rfc3339(policy.updated_at),
        }
    }
}
