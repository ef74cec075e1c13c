//! Registration: the one line that turns a crate into a component.
//!
//! The macros expand to the exports of the contract and to the custom section
//! `tidelock:plugin`, which lets the host tell name, version, contract and role of a
//! component before it compiles it. Both exist on wasm32 only; natively a plugin is an
//! ordinary library, which the test kit calls.
//!
//! An export needs `#[unsafe(export_name)]`, a section `#[unsafe(link_section)]`. Both
//! stand in macros of this crate and of wit-bindgen, so that plugin crates keep
//! `forbid(unsafe_code)`. They are sound: the section is a private, read-only byte
//! array that nothing refers to, and names of exports are those of the contract, once
//! per component (the linker refuses a second one).

/// The version of the contract that this SDK speaks.
pub const API: &str = "0.1.0";

/// The text of the custom section. A const function, since a section's bytes must be
/// known when the crate is compiled.
#[doc(hidden)]
#[must_use]
pub const fn section<const N: usize>(parts: &[&str]) -> [u8; N] {
    let mut out = [0; N];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let bytes = parts[part].as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            out[at] = bytes[i];
            at += 1;
            i += 1;
        }
        part += 1;
    }
    assert!(at == N, "the section is as long as its parts");
    out
}

/// The length of all parts.
#[doc(hidden)]
#[must_use]
pub const fn length(parts: &[&str]) -> usize {
    let (mut sum, mut part) = (0, 0);
    while part < parts.len() {
        sum += parts[part].len();
        part += 1;
    }
    sum
}

/// The parts of the section's JSON. Fails to compile where a part would need escaping.
#[doc(hidden)]
#[must_use]
pub const fn parts(name: &'static str, version: &'static str, role: &'static str) -> [&'static str; 9] {
    plain(name);
    plain(version);
    ["{\"name\":\"", name, "\",\"version\":\"", version, "\",\"api\":\"", API, "\",\"role\":\"", role, "\"}"]
}

const fn plain(text: &str) {
    let bytes = text.as_bytes();
    assert!(!bytes.is_empty(), "a plugin's name and version are not empty");
    let mut i = 0;
    while i < bytes.len() {
        let byte = bytes[i];
        assert!(
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+'),
            "a plugin's name and version hold letters, digits and -_.+ only"
        );
        i += 1;
    }
}

/// Exports a [`Provider`](crate::Provider) as a component.
#[macro_export]
macro_rules! register_provider {
    ($plugin:ty) => {
        $crate::__section!(<$plugin as $crate::Provider>::NAME, <$plugin as $crate::Provider>::VERSION, "provider");
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::guest::Provided<$plugin>;
            $crate::guest::bindings::provider::export_provider!(
                Exported with_types_in $crate::guest::bindings::provider
            );
        };
    };
}

/// Exports a [`Renderer`](crate::Renderer) as a component.
#[macro_export]
macro_rules! register_renderer {
    ($plugin:ty) => {
        $crate::__section!(<$plugin as $crate::Renderer>::NAME, <$plugin as $crate::Renderer>::VERSION, "renderer");
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::guest::Rendering<$plugin>;
            $crate::guest::bindings::renderer::export_renderer!(
                Exported with_types_in $crate::guest::bindings::renderer
            );
        };
    };
}

/// The custom section. Its text is made on every target, so that a name that does not
/// fit fails natively too.
#[doc(hidden)]
#[macro_export]
macro_rules! __section {
    ($name:expr, $version:expr, $role:literal) => {
        const _: () = {
            const PARTS: [&str; 9] = $crate::register::parts($name, $version, $role);
            const LENGTH: usize = $crate::register::length(&PARTS);
            #[cfg_attr(target_arch = "wasm32", unsafe(link_section = "tidelock:plugin"))]
            #[cfg_attr(target_arch = "wasm32", used)]
            static SECTION: [u8; LENGTH] = $crate::register::section(&PARTS);
            #[cfg(not(target_arch = "wasm32"))]
            const _: &[u8] = &SECTION;
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_json() {
        const PARTS: [&str; 9] = parts("server", "0.1.0", "provider");
        let text: [u8; length(&PARTS)] = section(&PARTS);
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let wanted = serde_json::json!({"name": "server", "version": "0.1.0", "api": "0.1.0", "role": "provider"});
        assert_eq!(json, wanted);
    }
}
