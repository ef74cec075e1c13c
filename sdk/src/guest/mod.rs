//! The component glue: from the contract's words to the SDK's and back. Compiled for
//! wasm32 only; nothing here decides anything.

pub mod bindings;
mod dns;
pub(crate) mod host;
mod network;
mod panic;
mod provider;
mod renderer;
mod sql;

pub use provider::Provided;
pub use renderer::Rendering;
