//! The fetch child by itself, for this crate's tests. The shipped one is `tidelock`
//! with a hidden subcommand, which calls the same function.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    tidelock_source::fetch_child(&args, std::io::stdin().lock(), std::io::stdout().lock())
}
