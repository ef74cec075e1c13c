//! Running `nft`: loading commands, and having it print.

use tidelock_model::error::Fault;

use super::super::program::Program;

const NFT: Program =
    Program { name: "nft", paths: &["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"], package: "nftables" };

/// Loads commands, as one transaction.
///
/// # Errors
/// `nft`, with what it says; it is not there; it takes too long.
pub(super) fn load(commands: &str) -> Result<(), Fault> {
    let ended = NFT.run(&["-f", "-"], commands.as_bytes())?;
    if ended.success { Ok(()) } else { Err(NFT.complaint(&ended.stderr)) }
}

/// What it prints of something; `None` where that is not there.
pub(super) fn print(words: &[&str]) -> Result<Option<String>, Fault> {
    let ended = NFT.run(words, b"")?;
    if ended.success {
        return Ok(Some(ended.text()));
    }
    // The one complaint that says that the question was understood and the answer is no.
    if ended.stderr.contains("No such file or directory") {
        return Ok(None);
    }
    Err(NFT.complaint(&ended.stderr))
}
