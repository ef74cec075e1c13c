//! From a core module to a component, and what can be read from it.

use anyhow::{Context, Result};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

/// The section in which a plugin says its name, version and the contract that
/// it was made for.
const ABOUT: &str = "tidelock:plugin";

/// Makes a component of a core module.
///
/// The host reads [`ABOUT`] at the component's top level, without looking into
/// the modules inside, so it is repeated there.
pub(super) fn encode(module: &[u8]) -> Result<Vec<u8>> {
    let about = section(module)?.context("it does not say what it is: it registers no renderer or provider")?;
    let mut component = ComponentEncoder::default().validate(true).module(module)?.encode()?;
    if section(&component)?.is_none() {
        append(&mut component, ABOUT, &about);
    }
    Ok(component)
}

/// The names that a component imports, sorted.
pub(super) fn imports(component: &[u8]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload.context("the component is malformed")? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    found.push(import?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    found.sort();
    Ok(found)
}

/// The contents of [`ABOUT`] at the top level of a module or component.
fn section(wasm: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.context("the module is malformed")? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == ABOUT => {
                return Ok(Some(section.data().to_vec()));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Adds a custom section at the end, which is valid in modules and components.
fn append(wasm: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut body = Vec::new();
    length(&mut body, name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(data);
    wasm.push(0);
    length(wasm, body.len());
    wasm.extend_from_slice(&body);
}

/// A number as unsigned LEB128.
fn length(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn an_appended_section_is_read_back_whatever_its_length() {
        for size in [0, 1, 127, 128, 20_000] {
            for start in [EMPTY_MODULE, EMPTY_COMPONENT] {
                let data = vec![7; size];
                let mut wasm = start.to_vec();
                append(&mut wasm, ABOUT, &data);
                assert_eq!(section(&wasm).unwrap(), Some(data));
            }
        }
    }

    #[test]
    fn a_section_inside_a_nested_module_is_not_the_components_own() {
        let mut module = EMPTY_MODULE.to_vec();
        append(&mut module, ABOUT, b"inner");
        let mut component = EMPTY_COMPONENT.to_vec();
        component.push(1);
        length(&mut component, module.len());
        component.extend_from_slice(&module);
        assert_eq!(section(&component).unwrap(), None);

        append(&mut component, ABOUT, b"outer");
        assert_eq!(section(&component).unwrap(), Some(b"outer".to_vec()));
    }

    #[test]
    fn malformed_bytes_are_an_error() {
        assert!(section(b"\0asm\x01\0\0").is_err());
        assert!(imports(b"not wasm").is_err());
        assert!(encode(EMPTY_COMPONENT).is_err());
    }

    #[test]
    fn a_module_that_registers_no_plugin_is_none() {
        assert!(encode(EMPTY_MODULE).unwrap_err().to_string().contains("registers no"));
    }
}
