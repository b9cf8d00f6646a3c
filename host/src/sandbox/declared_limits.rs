//! Bounds the number of things that an upload declares, before any of it is validated or compiled.
//!
//! A few bytes can declare items that multiply. Each count below has a bound because its growth was measured to cost a host far
//! more than the bytes that declare it. Everything else is bounded by the size of the upload.

use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExport, ComponentExternalKind, ComponentImport, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, Encoding, Parser, Payload,
};

use super::refusal::UploadRefusal;

/// Levels of components and modules inside each other. Toolchains nest three deep.
const MAX_NESTING: usize = 16;

/// Functions of all core modules in total. Python has 13,483.
const MAX_FUNCTIONS: usize = 40_000;

/// Types of all core modules in total. A hundred thousand, with one trampoline each, took 27 s and 800 MB to compile.
const MAX_TYPES: usize = 10_000;

/// Element segments of all core modules in total. Ninety thousand took 5 s and 500 MB to compile.
const MAX_ELEMENT_SEGMENTS: usize = 10_000;

/// Instances, core and component, that one instantiation creates. One kilobyte of components, each of which instantiates the
/// previous one ten times, never finishes.
const MAX_INSTANCES: usize = 500;

/// The names that the outermost component imports and exports.
#[derive(Default)]
pub(super) struct ComponentNames {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

/// Counts the declarations in `bytes`, and returns the names of its imports and exports.
///
/// # Errors
/// If `bytes` is not a sequence of sections, or a count exceeds its limit; the text says which one, the allowed number, and the
/// number reached when counting stopped.
pub(super) fn check(bytes: &[u8]) -> Result<ComponentNames, UploadRefusal> {
    let broken = |error: BinaryReaderError| UploadRefusal::new(format!("not a valid component: {error}"));
    let mut declared = DeclaredLimits::default();
    for payload in Parser::new(0).parse_all(bytes) {
        declared.add(payload.map_err(broken)?).map_err(|error| match error {
            DeclarationError::Malformed(error) => broken(error),
            DeclarationError::OverLimit(refusal) => refusal,
        })?;
    }
    Ok(declared.names)
}

enum DeclarationError {
    Malformed(BinaryReaderError),
    OverLimit(UploadRefusal),
}

impl From<BinaryReaderError> for DeclarationError {
    fn from(error: BinaryReaderError) -> Self {
        Self::Malformed(error)
    }
}

#[derive(Default)]
struct DeclaredLimits {
    names: ComponentNames,
    functions: usize,
    types: usize,
    element_segments: usize,
    /// The component or module that is being read, last, and those that enclose it.
    enclosing: Vec<EnclosingUnit>,
}

#[derive(Default)]
struct EnclosingUnit {
    is_component: bool,
    /// Instances that one instantiation of it creates, besides itself.
    instances: usize,
    /// The same for the components in its index space. `None` if the component is not known, because it is imported or is an
    /// export of an instance.
    components: Vec<Option<usize>>,
}

impl DeclaredLimits {
    fn add(&mut self, payload: Payload<'_>) -> Result<(), DeclarationError> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.enclosing
                    .push(EnclosingUnit { is_component: encoding == Encoding::Component, ..EnclosingUnit::default() });
                at_most("components and modules inside each other", MAX_NESTING, self.enclosing.len())?;
            }
            Payload::End(_) => self.close(),
            Payload::FunctionSection(section) => {
                self.functions += section.count() as usize;
                at_most("functions", MAX_FUNCTIONS, self.functions)?;
            }
            Payload::TypeSection(section) => {
                self.types += section.count() as usize;
                at_most("core types", MAX_TYPES, self.types)?;
            }
            Payload::ElementSection(section) => {
                self.element_segments += section.count() as usize;
                at_most("element segments", MAX_ELEMENT_SEGMENTS, self.element_segments)?;
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
                    self.add_import(&import?);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    self.add_export(&export?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Some(done) = self.enclosing.pop().filter(|done| done.is_component) {
            self.add_component(Some(done.instances));
        }
    }

    fn add_import(&mut self, import: &ComponentImport<'_>) {
        if self.enclosing.len() == 1 {
            self.names.imports.push(import.name.name.to_owned());
        }
        if matches!(import.ty, ComponentTypeRef::Component(_)) {
            self.add_component(None);
        }
    }

    fn add_export(&mut self, export: &ComponentExport<'_>) {
        if self.enclosing.len() == 1 {
            self.names.exports.push(export.name.name.to_owned());
        }
        if export.kind == ComponentExternalKind::Component {
            // An export adds an index for the component that it exports.
            self.add_component(self.component(0, export.index));
        }
    }

    fn add_instance(&mut self, instance: &ComponentInstance<'_>) -> Result<(), DeclarationError> {
        let ComponentInstance::Instantiate { component_index, .. } = instance else {
            return self.add_instances(1);
        };
        let Some(inside) = self.component(0, *component_index) else {
            return Err(DeclarationError::OverLimit(UploadRefusal::new(
                "instantiates a component that it is given from elsewhere, so the number of instances cannot be \
                 counted before compiling; define the component itself in that place",
            )));
        };
        self.add_instances(inside.saturating_add(1))
    }

    fn add_instances(&mut self, count: usize) -> Result<(), DeclarationError> {
        let Some(current) = self.enclosing.last_mut() else { return Ok(()) };
        current.instances = current.instances.saturating_add(count);
        at_most("instances", MAX_INSTANCES, current.instances)
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
        if let Some(current) = self.enclosing.last_mut() {
            current.components.push(instances);
        }
    }

    /// Returns the instances of the component with this index, in the index space `outwards` levels further out.
    fn component(&self, outwards: u32, index: u32) -> Option<usize> {
        let place = self.enclosing.len().checked_sub(1)?.checked_sub(outwards as usize)?;
        *self.enclosing.get(place)?.components.get(index as usize)?
    }
}

fn at_most(what: &str, allowed: usize, wanted: usize) -> Result<(), DeclarationError> {
    if wanted <= allowed {
        return Ok(());
    }
    Err(DeclarationError::OverLimit(UploadRefusal::new(format!(
        "too many {what}: {allowed} allowed, {wanted} or more wanted; leave out what is not used"
    ))))
}
