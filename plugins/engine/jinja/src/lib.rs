//! Jinja templates for the standard transforms, on the engine `minijinja`, with the data of an event as variables.
//!
//! What differs from Jinja: numbers keep their spelling and are calculated exactly; a value that is missing or `null` is an error
//! unless `default` handles it; and data that no template looks at may be any JSON.

mod convert;
mod depth;
mod escape;
mod filters;
mod former;
mod json;
mod names;
mod node;
mod number;
mod operators;
mod output;
mod scope;
mod template;
mod tests;

pub use convert::Conversion;
pub use escape::Escape;
pub use filters::texts::shorten;
pub use json::{JsonTemplate, below};
pub use scope::Scope;
pub use template::{Fault, Template, is_template};
