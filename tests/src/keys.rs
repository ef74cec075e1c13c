//! SSH keys that sign commits.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::repo::finish;

/// A key pair on disk, made by the real `ssh-keygen`.
pub struct SigningKey {
    private: PathBuf,
}

impl SigningKey {
    /// Makes a new key in a folder.
    #[must_use]
    pub fn generate(folder: &Path, name: &str) -> Self {
        fs::create_dir_all(folder).unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        let private = folder.join(name);
        finish(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&private));
        Self { private }
    }

    /// The file with the private key.
    #[must_use]
    pub fn private(&self) -> &Path {
        &self.private
    }

    /// The public key as `ssh-keygen` writes it, without the comment.
    #[must_use]
    pub fn public(&self) -> String {
        let path = self.private.with_extension("pub");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// A line of an `allowed_signers` file that lets the key sign for a principal.
    #[must_use]
    pub fn allowed_signer(&self, principal: &str) -> String {
        format!("{principal} namespaces=\"git\" {}\n", self.public())
    }
}
