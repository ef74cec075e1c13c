//! `tidelock:log/log`: lines for the operator, and last words.

use wasmtime::Result;

use crate::bindings::log::{Host, Level};
use crate::call::CallState;

impl Host for CallState {
    fn log(&mut self, level: Level, message: String) -> Result<()> {
        self.door.enter("log.log", 1)?;
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        self.door.say(level, &message);
        Ok(())
    }

    fn panicked(&mut self, message: String, file: String, line: u32) -> Result<()> {
        self.door.enter("log.panicked", 1)?;
        self.door.panicked(&message, &file, line);
        Ok(())
    }
}
