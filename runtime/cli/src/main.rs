//! The `tidelock` command: parses the command line, wires the adapters to the loop, and
//! ends with the exit code that [`error::Exit`] publishes.
//!
//! Commands are thin: each file of [`commands`] reads its arguments, calls one room and
//! hands the answer to [`output`]. Every error passes [`error`]. Nothing else prints.

mod address;
mod commands;
mod config;
mod context;
mod daemon;
mod error;
mod estate;
mod log;
mod output;
mod plugins;
mod signals;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use commands::CommandLine;
use context::Context;
use error::Exit;
use output::Output;

/// Plans are made of many little texts, and the system's allocator took a fifth of the time of a large one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // Help and versions are no errors; what cannot be written cannot be said either.
            drop(error.print());
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            return ExitCode::from(exit.code());
        }
    };
    let out = Output::new(
        line.global.output,
        line.global.color,
        std::env::var_os("NO_COLOR").is_some_and(|no| !no.is_empty()),
    );
    let ended = log::start(line.global.log, line.command.is_daemon())
        .and_then(|()| Context::new(line.global, out))
        .and_then(|context| line.command.run(&context).map_err(|error| context.placed(error)));
    let exit = match ended {
        Ok(exit) => exit,
        Err(error) => {
            if error.kind != error::Kind::BrokenPipe {
                out.error(&error);
            }
            error.exit()
        }
    };
    ExitCode::from(exit.code())
}
