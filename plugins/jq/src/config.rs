//! The config of a webhook.

use std::collections::BTreeMap;

use posthaste_plugin::Error;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::program::Program;
use crate::value::Value;
use crate::variables;

/// The program and its variables.
#[derive(Deserialize)]
#[serde(try_from = "Spelt")]
pub struct Config {
    pub(crate) program: Program,
    pub(crate) vars: Vec<(String, Value)>,
}

/// The config as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelt {
    filter: String,
    #[serde(default)]
    vars: BTreeMap<String, Box<RawValue>>,
}

impl TryFrom<Spelt> for Config {
    type Error = Error;

    fn try_from(spelt: Spelt) -> Result<Self, Error> {
        let vars = variables::read(spelt.vars)?;
        Ok(Self { program: Program::compile(&spelt.filter, &vars)?, vars })
    }
}
