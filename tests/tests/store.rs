//! `store backup` and `store restore` on the real binary: under load, after a loss, and
//! with what must never be put back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tidelock_tests::daemon::eventually;
use tidelock_tests::{Daemon, Site, site};

const SCRIPT: &str = "#!/bin/sh\ncd \"$TIDELOCK_ROOT/srv\"\ntouch started\nwhile [ ! -e go ]; do sleep 0.02; done\n";
const COMMAND: &str = "kind: server.command\nname: slow\nspec: { argv: [/bin/sh, SCRIPT], creates: /srv/go }\n";

/// A site of many files that a daemon applies by itself as they are committed.
fn busy(files: usize) -> Site {
    let site = Site::new();
    site.stack("web");
    for n in 0..files {
        site.file("web", &format!("f{n:03}"), "0\n");
    }
    site.repo().commit("Many files");
    let config = site::config("infra").replacen("url = \"infra\"\n", "url = \"infra\"\npoll = \"100ms\"\n", 1);
    let config = config.replacen("root = \"machine\"\n", "root = \"machine\"\ndrift_every = \"100ms\"\n", 1);
    site.world().write("tidelock.toml", config);
    site.apply();
    site
}

fn commit(site: &Site, files: usize, contents: &str) {
    for n in 0..files {
        site.repo().write(&format!("web/f{n:03}.txt"), contents);
    }
    site.repo().commit(contents.trim());
}

fn lose(site: &Site) {
    for file in ["tidelock.db", "tidelock.db-wal", "tidelock.db-shm"] {
        drop(fs::remove_file(site.world().path(file)));
    }
}

#[test]
fn a_store_that_is_lost_comes_back_and_the_plan_is_empty() {
    const FILES: usize = 60;
    let site = busy(FILES);
    let daemon = Daemon::start(&site);
    let mut copies = Vec::new();
    for round in 1..6 {
        commit(&site, FILES, &format!("{round}\n"));
        // In the middle of what the daemon makes of it.
        for _ in 0..4 {
            let file = format!("copy-{}", copies.len());
            let json = site.tidelock(["store", "backup", &file, "--output", "json"]).run().ok().json();
            assert_eq!(json["format"], "tidelock.backup/1");
            copies.push(file);
        }
        daemon.eventually("the round is applied", || {
            site.on_machine("srv/f059").as_deref() == Some(format!("{round}\n").as_str())
        });
    }
    let mode = fs::metadata(site.world().path("copy-0")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let _ = site.tidelock(["store", "backup", "copy-0"]).run().exit(1).says("not overwritten");
    let in_use = site.tidelock(["store", "restore", "copy-0"]).run().exit(1);
    let _ = in_use.says("in use").says(&format!("process {}", daemon.id()));
    daemon.stop();

    // As it is now.
    site.tidelock(["store", "backup", "last"]).run().ok();
    lose(&site);
    site.tidelock(["store", "restore", "last"]).run().ok();
    site.converged();
    let _ = site.tidelock(["blame", "server.file/f000"]).run().ok().says("update");
    let _ = site.tidelock(["events"]).run().ok().says("put back a copy");

    // As it was in the middle of something: what was done since is found out by looking.
    let machine = site.world().fingerprint("machine");
    for copy in copies {
        lose(&site);
        site.tidelock(["store", "restore", &copy]).run().ok();
        let json = site.tidelock(["apply", "--yes", "--output", "json"]).run().ok().json();
        assert_eq!(json["plan"]["summary"]["effects"], 0, "{copy}: {json}");
        site.converged();
        assert_eq!(site.world().fingerprint("machine"), machine, "{copy}");
        assert_eq!(fs::metadata(site.world().path("tidelock.db")).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let daemon = Daemon::start(&site);
    site.world().write("machine/srv/f000", "by hand\n");
    daemon.eventually("it heals as before", || site.on_machine("srv/f000").as_deref() == Some("5\n"));
    daemon.stop();
}

#[test]
fn drift_is_found_after_a_restore_and_the_store_from_before_is_kept() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    site.tidelock(["store", "backup", "copy"]).run().ok().says("tidelock store restore");
    site.repo().write("web/a.txt", "two\n").commit("Two");
    site.apply();
    site.tidelock(["suspend", "web", "--reason", "a freeze"]).run().ok();
    let json = site.tidelock(["store", "restore", "copy", "--output", "json"]).run().ok().json();
    assert_eq!((&json["format"], &json["holds"]), (&"tidelock.restore/1".into(), &1.into()), "{json}");
    let kept = json["kept"][0].as_str().unwrap().to_owned();
    assert!(kept.contains("tidelock.db.before/"), "{kept}");
    let _ = site.tidelock(["plan"]).run().ok().says("a freeze").says("only the record changes");
    site.tidelock(["resume", "web", "--yes"]).run().ok();
    site.world().write("machine/srv/a", "by hand\n");
    let _ = site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2).says("-by hand").says("+two");
    site.apply();
    site.converged();

    // And forward again.
    site.tidelock(["store", "restore", &kept]).run().ok();
    site.converged();
}

#[test]
fn what_is_no_good_copy_is_not_put_back() {
    let site = Site::with_files([("a", "one\n")]);
    let _ = site.tidelock(["store", "backup", "copy"]).run().exit(1).says("there is no store");
    site.apply();
    site.tidelock(["store", "backup", "copy"]).run().ok();
    let bytes = fs::read(site.world().path("copy")).unwrap();
    let mut newer = bytes.clone();
    // The version lies in the header as a number of four bytes.
    newer[60..64].copy_from_slice(&9_999_u32.to_be_bytes());
    for (name, contents, says) in [
        ("half", bytes[..bytes.len() / 2].to_vec(), "damaged"),
        ("newer", newer, "version 9999"),
        ("text", b"a letter".to_vec(), "not a store"),
        ("nothing", vec![], "not a store"),
    ] {
        site.world().write(name, contents);
        let refused = site.tidelock(["store", "restore", name]).run().exit(1);
        let _ = refused.says(says);
        site.converged();
    }
    let _ = site.tidelock(["store", "restore", "tidelock.db"]).run().exit(1).says("the store itself");
    let _ = site.tidelock(["store", "restore", "missing"]).run().exit(1).says("missing");
}

#[test]
fn an_apply_under_way_is_not_left_without_its_store() {
    let site = Site::new();
    site.stack("web");
    site.world().write("slow.sh", SCRIPT);
    let script = site.world().path("slow.sh").display().to_string();
    site.repo().write("web/slow.yaml", COMMAND.replace("SCRIPT", &script)).commit("A slow command");
    site.world().write("tidelock.toml", format!("{}exec = [[\"/bin/sh\", {script:?}]]\n", site::config("infra")));
    site.tidelock(["plan"]).run().ok();
    site.tidelock(["store", "backup", "copy"]).run().ok();
    let child = site.tidelock(["apply", "--yes"]).spawn();
    eventually("the command runs", || site.machine("srv/started").exists());
    let refused = site.tidelock(["store", "restore", "copy"]).run().exit(1);
    let _ = refused.says("in use").says(&format!("process {}", child.id()));
    // The file is gone, the process is not.
    fs::remove_file(site.world().path("tidelock.db")).unwrap();
    let _ = site.tidelock(["store", "restore", "copy"]).run().exit(1).says(&format!("process {}", child.id()));
    site.world().write("machine/srv/go", "");
    drop(child.wait_with_output());
    site.tidelock(["store", "restore", "copy"]).run().ok();
    site.apply();
    site.converged();
}

#[test]
fn effects_that_were_begun_when_the_copy_was_made_are_settled_by_looking() {
    let site = Site::new();
    site.stack("web");
    site.world().write("slow.sh", SCRIPT);
    let script = site.world().path("slow.sh").display().to_string();
    site.repo().write("web/slow.yaml", COMMAND.replace("SCRIPT", &script)).commit("A slow command");
    site.world().write("tidelock.toml", format!("{}exec = [[\"/bin/sh\", {script:?}]]\n", site::config("infra")));
    let child = site.tidelock(["apply", "--yes"]).spawn();
    eventually("the command runs", || site.machine("srv/started").exists());
    site.tidelock(["store", "backup", "copy"]).run().ok();
    site.world().write("machine/srv/go", "");
    assert!(child.wait_with_output().expect("its end").status.success());
    site.tidelock(["store", "restore", "copy"]).run().ok();
    let _ = site.tidelock(["why"]).run().ok().says("interrupted:").says("the next pass looks what came of it");
    fs::remove_file(site.machine("srv/started")).unwrap();
    site.apply();
    site.converged();
    assert!(!site.machine("srv/started").exists(), "the command was not run again");
    let _ = site.tidelock(["events"]).run().ok().says("recovered run").says("1 found done");
}
