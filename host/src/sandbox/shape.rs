//! How large an upload is in what it declares: read before anything of it is validated, let alone compiled.
//!
//! Each count has a bound where its growth was seen to cost a host far more than the bytes that it takes. What costs no
//! more than its bytes, the size of the upload bounds.

use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, Encoding, Parser, Payload,
};

use super::inspect::Refusal;

/// Components and modules inside each other. Toolchains nest three deep.
const NESTING: usize = 16;

/// Functions of all core modules together. Python has 13,483.
const FUNCTIONS: usize = 40_000;

/// Types of all core modules together. A hundred thousand took 27 s and 800 MB to compile, one piece of glue each.
const TYPES: usize = 10_000;

/// Element segments of all core modules together. Ninety thousand took 5 s and 500 MB.
const ELEMENT_SEGMENTS: usize = 10_000;

/// Instances, core and component, that instantiating makes. A kilobyte of components that each make ten of the one
/// before is never done.
const INSTANCES: usize = 500;

/// The names that the outermost component imports and exports.
#[derive(Default)]
pub(super) struct Names {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

/// Counts what `bytes` declares, and answers its names.
///
/// # Errors
/// When it is not a sequence of sections, or declares too much of something; the text says of what, how much is allowed
/// and how much was wanted, as far as it was counted.
pub(super) fn read(bytes: &[u8]) -> Result<Names, Refusal> {
    let broken = |error: BinaryReaderError| Refusal::new(format!("not a valid component: {error}"));
    let mut shape = Shape::default();
    for payload in Parser::new(0).parse_all(bytes) {
        shape.add(payload.map_err(broken)?).map_err(|trouble| match trouble {
            Trouble::Broken(error) => broken(error),
            Trouble::TooMuch(refusal) => refusal,
        })?;
    }
    Ok(shape.names)
}

enum Trouble {
    Broken(BinaryReaderError),
    TooMuch(Refusal),
}

impl From<BinaryReaderError> for Trouble {
    fn from(error: BinaryReaderError) -> Self {
        Self::Broken(error)
    }
}

#[derive(Default)]
struct Shape {
    names: Names,
    functions: usize,
    types: usize,
    element_segments: usize,
    /// The component or module that is being read, last, and those around it.
    open: Vec<Open>,
}

#[derive(Default)]
struct Open {
    is_component: bool,
    /// Instances that one instantiation of it makes, itself aside.
    instances: usize,
    /// The same for the components that it can name, in the order of their indices. Those that come from elsewhere are
    /// not known.
    components: Vec<Option<usize>>,
}

impl Shape {
    fn add(&mut self, payload: Payload<'_>) -> Result<(), Trouble> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.open.push(Open { is_component: encoding == Encoding::Component, ..Open::default() });
                at_most("components and modules inside each other", NESTING, self.open.len())?;
            }
            Payload::End(_) => self.close(),
            Payload::FunctionSection(section) => {
                self.functions += section.count() as usize;
                at_most("functions", FUNCTIONS, self.functions)?;
            }
            Payload::TypeSection(section) => {
                self.types += section.count() as usize;
                at_most("core types", TYPES, self.types)?;
            }
            Payload::ElementSection(section) => {
                self.element_segments += section.count() as usize;
                at_most("element segments", ELEMENT_SEGMENTS, self.element_segments)?;
            }
            Payload::InstanceSection(section) => self.add_instances(section.count() as usize)?,
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    self.add_instance(&instance?)?;
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    self.add_alias(&alias?);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import?;
                    if self.open.len() == 1 {
                        self.names.imports.push(import.name.name.to_owned());
                    }
                    if matches!(import.ty, ComponentTypeRef::Component(_)) {
                        self.add_component(None);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    if self.open.len() == 1 {
                        self.names.exports.push(export.name.name.to_owned());
                    }
                    if export.kind == ComponentExternalKind::Component {
                        // An export is a new name for what it exports.
                        self.add_component(self.component(0, export.index));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Some(done) = self.open.pop().filter(|done| done.is_component) {
            self.add_component(Some(done.instances));
        }
    }

    fn add_instance(&mut self, instance: &ComponentInstance<'_>) -> Result<(), Trouble> {
        let ComponentInstance::Instantiate { component_index, .. } = instance else {
            return self.add_instances(1);
        };
        let Some(inside) = self.component(0, *component_index) else {
            return Err(Trouble::TooMuch(Refusal::new(
                "instantiates a component that it is given from elsewhere, so that nobody can say beforehand how many \
                 instances that makes; put the component itself in that place",
            )));
        };
        self.add_instances(inside.saturating_add(1))
    }

    fn add_instances(&mut self, count: usize) -> Result<(), Trouble> {
        let Some(current) = self.open.last_mut() else { return Ok(()) };
        current.instances = current.instances.saturating_add(count);
        at_most("instances", INSTANCES, current.instances)
    }

    fn add_alias(&mut self, alias: &ComponentAlias<'_>) {
        match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => self.add_component(None),
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                self.add_component(self.component(*count, *index));
            }
            _ => {}
        }
    }

    fn add_component(&mut self, instances: Option<usize>) {
        if let Some(current) = self.open.last_mut() {
            current.components.push(instances);
        }
    }

    /// The component of this index, as seen `outwards` components further out.
    fn component(&self, outwards: u32, index: u32) -> Option<usize> {
        let place = self.open.len().checked_sub(1)?.checked_sub(outwards as usize)?;
        *self.open.get(place)?.components.get(index as usize)?
    }
}

fn at_most(what: &str, allowed: usize, wanted: usize) -> Result<(), Trouble> {
    if wanted <= allowed {
        return Ok(());
    }
    Err(Trouble::TooMuch(Refusal::new(format!(
        "too many {what}: {allowed} allowed, {wanted} or more wanted; leave out what is not used"
    ))))
}
