//! What is opened, what is refused, and that a refused file is left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tidelock_model::port::{Filter, Store};
use tidelock_store::{SCHEMA_VERSION, SqliteStore};

use crate::support::{Place, again_with_mounts, apply, at, begin, code, create, lane, name, settled};

/// Every file of a folder with its bytes.
fn bytes(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|found| found.unwrap())
        .map(|found| (found.file_name().into_string().unwrap(), fs::read(found.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn filled(place: &Place) {
    let store = place.open();
    let lane = lane("infra:web@local");
    let lease = begin(&store, "r1", &lane);
    apply(&store, &lease, &[create("r1", &lane, 1)], "done");
}

#[test]
fn a_new_store_is_for_its_owner_alone() {
    let place = Place::new();
    let path = place.dir.path().join("deep/er/a b%?#.db");
    let store = SqliteStore::open(&path).unwrap();
    store.put_fingerprint(&name("local"), "x").unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_file_name("a b%?#.db-wal")), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(path.parent().unwrap().parent().unwrap()), 0o700);
}

#[test]
fn a_copy_that_all_can_read_is_closed_again() {
    let place = Place::new();
    filled(&place);
    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o644)).unwrap();
    place.open();
    assert_eq!(mode(&place.path), 0o640);
}

#[test]
fn a_store_keeps_its_id_and_content() {
    let place = Place::new();
    filled(&place);
    let id = place.open().id().unwrap();
    let store = place.open();
    assert_eq!(id.len(), 32);
    assert_eq!(store.id().unwrap(), id);
    assert_eq!(store.inventory(&name("local")).unwrap().len(), 1);
    store.check().unwrap();
    assert_ne!(Place::new().open().id().unwrap(), id);
}

#[test]
fn a_newer_store_is_refused_and_not_a_byte_of_it_changes() {
    let place = Place::new();
    filled(&place);
    place.raw().pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    let before = bytes(place.dir.path());
    assert_eq!(before.len(), 1, "the log was written back when the last one closed");

    let error = SqliteStore::open(&place.path).unwrap_err();
    assert_eq!(error.code, "newer");
    assert!(error.message.contains(&format!("version {}", SCHEMA_VERSION + 1)), "{error}");
    assert_eq!(code(SqliteStore::open_read_only(&place.path)), "newer");
    assert_eq!(bytes(place.dir.path()), before);
}

#[test]
fn a_newer_store_that_was_left_in_the_middle_is_refused_too() {
    let place = Place::new();
    filled(&place);
    // The version stands in the log only: its writer has not closed.
    let newer = place.raw();
    newer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    newer.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    let without_index = |dir| bytes(dir).into_iter().filter(|(file, _)| !file.ends_with("-shm")).collect::<Vec<_>>();
    let before = without_index(place.dir.path());
    assert_eq!(code(SqliteStore::open(&place.path)), "newer");
    assert_eq!(code(SqliteStore::open_read_only(&place.path)), "newer");
    assert_eq!(without_index(place.dir.path()), before);
    drop(newer);
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let place = Place::new();
    fs::write(
        &place.path,
        "name = \"not a database, but long enough to be asked for its header of 100 bytes\"\n".repeat(9),
    )
    .unwrap();
    let before = bytes(place.dir.path());
    let error = SqliteStore::open(&place.path).unwrap_err();
    assert_eq!(error.code, "foreign", "{error}");
    assert_eq!(code(SqliteStore::open_read_only(&place.path)), "foreign");
    assert_eq!(bytes(place.dir.path()), before);

    fs::remove_file(&place.path).unwrap();
    place.raw().execute_batch("CREATE TABLE songs (title TEXT)").unwrap();
    let before = bytes(place.dir.path());
    let error = SqliteStore::open(&place.path).unwrap_err();
    assert_eq!(error.code, "foreign");
    assert!(error.message.contains("another program"), "{error}");
    assert_eq!(bytes(place.dir.path()), before);

    assert_eq!(code(SqliteStore::open(place.dir.path())), "foreign");
}

#[test]
fn a_damaged_store_says_so_and_what_to_do() {
    let place = Place::new();
    {
        let store = place.open();
        let lane = lane("infra:web@local");
        let lease = begin(&store, "r1", &lane);
        let intents: Vec<_> = (0..200).map(|n| create("r1", &lane, n)).collect();
        apply(&store, &lease, &intents, "done");
    }
    assert_eq!(bytes(place.dir.path()).len(), 1, "closing wrote the log back");
    let whole = fs::read(&place.path).unwrap();

    // Cut in the middle.
    fs::write(&place.path, &whole[..whole.len() / 2]).unwrap();
    let error = SqliteStore::open(&place.path).and_then(|store| store.check()).unwrap_err();
    assert_eq!(error.code, "corrupt");
    assert!(error.message.contains(place.path.to_str().unwrap()), "{error}");
    assert!(error.hint.unwrap().contains("backup"));

    // Overwritten from the second page on.
    let mut torn = whole.clone();
    torn[4096..].fill(0x5a);
    fs::write(&place.path, &torn).unwrap();
    let read = SqliteStore::open(&place.path).and_then(|store| store.inventory(&name("local")).map(|_| ()));
    assert_eq!(code(read), "corrupt");

    // A line that is no longer what we wrote.
    fs::write(&place.path, &whole).unwrap();
    place.raw().execute("UPDATE inventory SET entry = '{}' WHERE identity = 'path:/srv/f00007'", []).unwrap();
    let error = place.open().inventory(&name("local")).unwrap_err();
    assert_eq!(error.code, "corrupt");
    assert!(error.message.contains("path:/srv/f00007"), "{error}");
}

#[test]
fn a_file_left_by_a_crash_before_its_first_table_becomes_a_store() {
    let place = Place::new();
    fs::write(&place.path, "").unwrap();
    place.open().id().unwrap();

    let place = Place::new();
    place.raw().pragma_update(None, "journal_mode", "wal").unwrap();
    assert!(fs::metadata(&place.path).unwrap().len() > 0);
    place.open().id().unwrap();
}

#[test]
fn reading_only_reads() {
    let place = Place::new();
    let missing = SqliteStore::open_read_only(&place.path).unwrap_err();
    assert_eq!(missing.code, "io");
    assert!(missing.hint.is_some());
    assert!(!place.path.exists());

    filled(&place);
    let before = fs::read(&place.path).unwrap();
    let store = SqliteStore::open_read_only(&place.path).unwrap();
    assert_eq!(store.inventory(&name("local")).unwrap().len(), 1);
    assert_eq!(code(store.put_fingerprint(&name("local"), "x")), "read-only");
    assert_eq!(code(store.lease("lane:x", "me", 1)), "read-only");
    drop(store);
    assert_eq!(fs::read(&place.path).unwrap(), before);
}

#[test]
fn a_reader_sees_what_another_connection_has_written() {
    let place = Place::new();
    let store = place.open();
    let reader = SqliteStore::open_read_only(&place.path).unwrap();
    store.put_fingerprint(&name("local"), "machine-1").unwrap();
    assert_eq!(reader.fingerprint(&name("local")).unwrap().as_deref(), Some("machine-1"));
}

#[test]
fn what_may_not_be_written_can_be_read() {
    let place = Place::new();
    filled(&place);
    let read_only = "mount --bind \"$TIDELOCK_TEST_DIR\" \"$TIDELOCK_TEST_DIR\" && \
                     mount -o remount,bind,ro \"$TIDELOCK_TEST_DIR\"";
    let Some(output) = again_with_mounts("opening::read_only_child", place.dir.path(), read_only) else { return };
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn read_only_child() {
    let Some(dir) = std::env::var_os("TIDELOCK_TEST_DIR") else { return };
    let path = Path::new(&dir).join("tidelock.db");
    assert_eq!(code(SqliteStore::open(&path)), "read-only");
    let store = SqliteStore::open_read_only(&path).unwrap();
    assert_eq!(store.inventory(&name("local")).unwrap().len(), 1);
    assert_eq!(code(SqliteStore::open(&path.with_file_name("new.db"))), "io");
}

/// Where this user may not mount, `door.rs` has the same with a bound of SQLite's own.
#[test]
fn a_full_disk_is_named_and_takes_nothing_with_it() {
    let place = Place::new();
    let small = "mount -t tmpfs -o size=768k tmpfs \"$TIDELOCK_TEST_DIR\"";
    let Some(output) = again_with_mounts("opening::a_full_disk_child", place.dir.path(), small) else { return };
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_full_disk_child() {
    let Some(dir) = std::env::var_os("TIDELOCK_TEST_DIR") else { return };
    let path = Path::new(&dir).join("tidelock.db");
    let store = SqliteStore::open(&path).unwrap();
    let lane = lane("infra:web@local");
    let lease = begin(&store, "r1", &lane);
    let mut done = 0;
    let error = loop {
        let intents: Vec<_> = (done..done + 20).map(|n| create("r1", &lane, n)).collect();
        let known: Vec<_> = intents.iter().map(|intent| settled(intent, "done")).collect();
        let step = store.put_intents(&lease, &intents).and_then(|()| store.settle(&lease, at(2), &known));
        match step {
            Ok(()) => done += 20,
            Err(error) => break error,
        }
        assert!(done < 100_000, "the disk was never full");
    };
    assert_eq!(error.code, "full", "{error}");
    assert!(error.hint.is_some());
    assert!(done > 0);
    // All that was promised is there, nothing of the last step but what one method wrote whole.
    assert_eq!(store.inventory(&name("local")).unwrap().len(), done as usize);
    assert!(matches!(store.open_intents(&lane).unwrap().len(), 0 | 20));
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    store.check().unwrap();
    assert_eq!(store.inventory(&name("local")).unwrap().len(), done as usize);
    assert_eq!(store.runs(&Filter::default()).unwrap().len(), 1);
}

#[test]
fn a_store_of_the_first_version_is_brought_up_and_keeps_what_it_knows() {
    let place = Place::new();
    {
        let raw = place.raw();
        raw.execute_batch(include_str!("../../migrations/0001_spine.sql")).unwrap();
        raw.execute_batch(
            "INSERT INTO lanes (source, stack, target, status, plugins, contacted)
               VALUES ('infra', 'web', 'local', 'converged', '[]', 1);
             INSERT INTO meta (key, value) VALUES ('store', 'first');
             PRAGMA user_version = 1;",
        )
        .unwrap();
        raw.pragma_update(None, "application_id", 0x5469_4c6b_i64).unwrap();
    }
    assert_eq!(code(SqliteStore::open_read_only(&place.path)), "read-only", "what only reads changes nothing");
    let store = place.open();
    let record = store.lane(&lane("infra:web@local")).unwrap().unwrap();
    assert!(record.contacted && record.waits.is_empty() && record.attempts == 0);
    assert!(store.holds().unwrap().is_empty());
    assert_eq!(store.id().unwrap(), "first");
}
