//! `tidelock:renderer/inputs` and `output`: what a render depends on besides files,
//! and where its resources go.

use serde_json::Value;
use tidelock_model::error::tame;
use tidelock_model::reads::Question;
use tidelock_model::resource::RenderedDoc;
use wasmtime::Result;

use crate::bindings::renderer::tidelock::renderer::{inputs, output};
use crate::bindings::types::Error;
use crate::call::CallState;
use crate::convert::{place, to_guest};
use crate::json;

/// What a resource counts beside its text, so that empty ones come to an end too.
const RESOURCE_COST: usize = 64;

impl inputs::Host for CallState {
    fn settings(&mut self) -> Result<String> {
        self.door.enter_read("inputs.settings", 1)?;
        self.record(Question::Settings)?;
        let settings = &self.render("inputs.settings")?.inputs.settings;
        Ok(if settings.is_null() { "{}".to_owned() } else { settings.to_string() })
    }

    fn values(&mut self, pointer: String) -> Result<Option<String>> {
        self.door.enter_read("inputs.values", 1)?;
        self.record(Question::Values(pointer.clone()))?;
        Ok(self.render("inputs.values")?.inputs.values.pointer(&pointer).map(Value::to_string))
    }

    fn target(&mut self) -> Result<String> {
        self.door.enter_read("inputs.target", 1)?;
        self.record(Question::Target)?;
        Ok(self.render("inputs.target")?.inputs.target.to_string())
    }

    fn label(&mut self, name: String) -> Result<Option<String>> {
        self.door.enter_read("inputs.label", 1)?;
        self.record(Question::Label(name.clone()))?;
        Ok(self.render("inputs.label")?.inputs.labels.get(&name).cloned())
    }

    fn fact(&mut self, name: String) -> Result<Option<String>> {
        self.door.enter_read("inputs.fact", 1)?;
        self.record(Question::Fact(name.clone()))?;
        Ok(self.render("inputs.fact")?.inputs.facts.get(&name).map(Value::to_string))
    }
}

impl output::Host for CallState {
    fn emit(&mut self, page: Vec<output::Rendered>) -> Result<Result<(), Error>> {
        self.door.enter("output.emit", 1)?;
        let module = self.render("output.emit")?.inputs.module.clone();
        let mut docs = Vec::with_capacity(page.len());
        for rendered in page {
            // Past the limit the guest is told, and may end in peace; the render has failed.
            let size = rendered.document.len() + rendered.place.file.len() + RESOURCE_COST;
            if let Err(stop) = self.door.hand_over(size) {
                return Ok(Err(to_guest(&stop.0)));
            }
            if let Err(why) = json::object(&rendered.document) {
                let near = tame(&rendered.document.chars().take(80).collect::<String>(), 200);
                return Err(self.door.broken(format!("emitted a resource as {why}: {near}")).into());
            }
            let place = place(&module, rendered.place).map_err(|why| self.door.broken(format!("emitted {why}")))?;
            docs.push(RenderedDoc { document: rendered.document, place });
        }
        self.render("output.emit")?.docs.append(&mut docs);
        Ok(Ok(()))
    }
}
