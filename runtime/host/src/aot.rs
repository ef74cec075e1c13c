//! Compiled plugins on disk, so that a second start need not compile.
//!
//! Compiled code is native code: whoever can write it can run it here. So a file is
//! used only if it lies in a directory of ours (0700), belongs to us, and carries a
//! MAC by a key that only we can read. Anything else is passed over, and the plugin
//! is compiled again.
//!
//! wasmtime loads such code through an `unsafe` function, and has no other; it is
//! the one call in this module, and the only hand-written exception to the rule that
//! our crates hold no unsafe code.

use std::fs::{self, File, OpenOptions};
use std::hash::Hash;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use tidelock_model::digest::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

const MAGIC: &[u8] = b"tidelock compiled plugin 1\n";
const MAC_SIZE: usize = 32;
/// Compiled code is three to four times the component; past this, something is off.
const MAX_FILE: u64 = 512 << 20;

/// The directory of compiled plugins and the key that vouches for them.
pub(crate) struct AotCache {
    dir: PathBuf,
    key: [u8; 32],
    /// Stands for everything of the engine that compiled code depends on.
    engine: [u8; 32],
}

impl AotCache {
    /// Opens the cache, and makes directory and key where there are none.
    ///
    /// # Errors
    /// The directory cannot be used, or it or the key is open to others.
    pub(crate) fn open(dir: &Path, engine: &Engine) -> io::Result<Self> {
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let meta = fs::symlink_metadata(dir)?;
        if !meta.is_dir() || !private(&meta) {
            return Err(io::Error::other(format!("{} is open to others; it must be ours, mode 0700", dir.display())));
        }
        let mut hasher = CompatHasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { dir: dir.to_owned(), key: key(&dir.join("key"))?, engine: hasher.0.finalize().into() })
    }

    /// The compiled form of a component, if there is one that can be trusted.
    pub(crate) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let code = self.verified(digest)?;
        load_verified(engine, &code)
    }

    /// Keeps a compiled component. Failing to is no error: the next start compiles.
    pub(crate) fn keep(&self, component: &Component, digest: &Digest) {
        let kept = component.serialize().map_err(io::Error::other).and_then(|code| self.write(digest, &code));
        if let Err(error) = kept {
            tracing::debug!("cannot keep the compiled plugin {}: {error}", digest.short());
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{}-{}.aot", hex::encode(digest.as_bytes()), hex::encode(&self.engine[..8])))
    }

    fn mac(&self, digest: &Digest, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        for part in [MAGIC, digest.as_bytes(), &self.engine, code] {
            mac.update(part);
        }
        mac
    }

    /// The code of a file that is ours, private and vouched for.
    fn verified(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.path(digest);
        // Nothing is followed: a link here was not made by us.
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&path).ok()?;
        let meta = file.metadata().ok()?;
        if !meta.is_file() || !private(&meta) || meta.len() > MAX_FILE {
            tracing::warn!("passed over {}: it is not a private file of ours", path.display());
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).ok()?);
        file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
        let rest = bytes.strip_prefix(MAGIC)?;
        let (mac, code) = rest.split_at_checked(MAC_SIZE)?;
        if self.mac(digest, code).verify_slice(mac).is_err() {
            tracing::warn!("passed over {}: it is not what was written there", path.display());
            return None;
        }
        bytes.drain(..MAGIC.len() + MAC_SIZE);
        Some(bytes)
    }

    fn write(&self, digest: &Digest, code: &[u8]) -> io::Result<()> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        let staged = self.dir.join(format!(".{}", hex::encode(name)));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
            file.write_all(MAGIC)?;
            file.write_all(&self.mac(digest, code).finalize().into_bytes())?;
            file.write_all(code)?;
            fs::rename(&staged, self.path(digest))
        })();
        if written.is_err() {
            drop(fs::remove_file(&staged));
        }
        written
    }
}

/// Whether it belongs to us and no one else may do anything with it.
fn private(meta: &fs::Metadata) -> bool {
    meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o077 == 0
}

/// Reads the key, or makes one.
fn key(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            getrandom::fill(&mut key).map_err(io::Error::other)?;
            file.write_all(&key)?;
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let meta = fs::symlink_metadata(path)?;
            if !meta.is_file() || !private(&meta) {
                return Err(io::Error::other(format!(
                    "{} is open to others; it must be ours, mode 0600",
                    path.display()
                )));
            }
            File::open(path)?.read_exact(&mut key)?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

/// Feeds wasmtime's compatibility hash into SHA-256: a `Hasher` of 64 bits is too
/// short to name files by.
struct CompatHasher(Sha256);

impl std::hash::Hasher for CompatHasher {
    fn finish(&self) -> u64 {
        0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// Loads code that `verified` vouched for.
#[expect(unsafe_code, reason = "wasmtime has no safe way to load what it compiled earlier")]
fn load_verified(engine: &Engine, code: &[u8]) -> Option<Component> {
    // SAFETY: `deserialize` demands bytes that `Component::serialize` of this very
    // engine gave and that nobody changed since. `AotCache::keep` alone writes them;
    // the MAC over the bytes, the component's digest and the engine's compatibility
    // hash, by a key that only we can read, shows that these are such bytes.
    match unsafe { Component::deserialize(engine, code) } {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::warn!("passed over a compiled plugin: {error:#}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The smallest component: a header.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    struct Fixture {
        _dir: tempfile::TempDir,
        dir: PathBuf,
        engine: Engine,
        digest: Digest,
    }

    fn kept() -> Fixture {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("cache/plugins");
        let engine = Engine::default();
        let digest = Digest::of(EMPTY);
        let cache = AotCache::open(&dir, &engine).unwrap();
        assert!(cache.load(&engine, &digest).is_none());
        cache.keep(&Component::new(&engine, EMPTY).unwrap(), &digest);
        Fixture { _dir: temp, dir, engine, digest }
    }

    impl Fixture {
        fn cache(&self) -> AotCache {
            AotCache::open(&self.dir, &self.engine).unwrap()
        }
        fn file(&self) -> PathBuf {
            self.cache().path(&self.digest)
        }
        fn loads(&self) -> bool {
            self.cache().load(&self.engine, &self.digest).is_some()
        }
    }

    #[test]
    fn what_was_kept_is_loaded_by_the_next_process() {
        let kept = kept();
        assert!(kept.loads());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&kept.dir), mode(&kept.dir.join("key")), mode(&kept.file())), (0o700, 0o600, 0o600));
    }

    #[test]
    fn every_flipped_or_missing_byte_is_noticed() {
        let kept = kept();
        let good = fs::read(kept.file()).unwrap();
        for at in [0, MAGIC.len(), MAGIC.len() + MAC_SIZE, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(kept.file(), bad).unwrap();
            assert!(!kept.loads(), "byte {at} was flipped");
        }
        for end in [0, MAGIC.len() + 3, good.len() - 1] {
            fs::write(kept.file(), &good[..end]).unwrap();
            assert!(!kept.loads(), "cut at {end}");
        }
        fs::write(kept.file(), good).unwrap();
        assert!(kept.loads());
    }

    #[test]
    fn files_of_other_plugins_open_files_and_links_are_passed_over() {
        let kept = kept();
        let other = Digest::of(b"another");
        fs::copy(kept.file(), kept.cache().path(&other)).unwrap();
        assert!(kept.cache().load(&kept.engine, &other).is_none(), "a file under another plugin's name");
        let good = kept.file();
        fs::set_permissions(&good, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(!kept.loads(), "a file that others may read");
        fs::set_permissions(&good, fs::Permissions::from_mode(0o600)).unwrap();
        let moved = kept.dir.join("moved");
        fs::rename(&good, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &good).unwrap();
        assert!(!kept.loads(), "a link");
    }

    #[test]
    fn another_key_vouches_for_nothing() {
        let kept = kept();
        fs::remove_file(kept.dir.join("key")).unwrap();
        assert!(!kept.loads());
    }

    #[test]
    fn a_directory_or_key_that_is_open_to_others_is_refused() {
        let kept = kept();
        fs::set_permissions(kept.dir.join("key"), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(AotCache::open(&kept.dir, &kept.engine).is_err());
        fs::set_permissions(kept.dir.join("key"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&kept.dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(AotCache::open(&kept.dir, &kept.engine).is_err());
    }
}
