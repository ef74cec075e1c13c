//! What a reviewer sees of an effect.

use tidelock_model::effect::{Effect, EffectBody};
use tidelock_model::port::Target as _;

use crate::support::{Room, attributes, directory, exec, file, link, remove};

async fn shown(room: &Room, effect: &Effect) -> String {
    room.machine.preview(effect, &room.contents).await.unwrap().text
}

#[tokio::test]
async fn text_is_a_diff_like_gits() {
    let room = Room::new();
    room.write("/etc/motd", "one\ntwo\nthree\nfour\nfive\nsix\nseven\n");
    let put = room.put("/etc/motd", "one\ntwo\nthree\nFOUR\nfive\nsix\nseven\n");
    let expected =
        "--- a/etc/motd\n+++ b/etc/motd\n@@ -1,7 +1,7 @@\n one\n two\n three\n-four\n+FOUR\n five\n six\n seven\n";
    assert_eq!(shown(&room, &put).await, expected);
    let new = room.put("/etc/new", "line\n");
    assert_eq!(shown(&room, &new).await, "--- /dev/null\n+++ b/etc/new\n@@ -0,0 +1 @@\n+line\n");
    let end = room.put("/etc/motd", "one\ntwo\nthree\nfour\nfive\nsix\nseven");
    assert!(shown(&room, &end).await.contains("No newline at end of file"));
}

#[tokio::test]
async fn what_is_not_text_is_shown_by_digest() {
    let room = Room::new();
    room.write("/bin", "a\0b");
    let text = shown(&room, &room.put("/bin", "text\n")).await;
    assert!(text.starts_with("- ") && text.contains("(3 bytes)\n+ ") && text.ends_with("(5 bytes)\n"), "{text}");
    let big = "x\n".repeat(1 << 20);
    let text = shown(&room, &room.put("/big", &big)).await;
    assert!(text.starts_with("+ ") && text.contains("2097152 bytes"), "{text}");
}

#[tokio::test]
async fn a_long_diff_is_cut_and_a_terminal_is_safe() {
    let room = Room::new();
    let long = room.put("/long", &"some line\n".repeat(50_000));
    let preview = room.machine.preview(&long, &room.contents).await.unwrap();
    assert!(preview.cut && preview.text.len() <= 64 << 10 && preview.text.ends_with('\n'));
    let nasty = room.put("/nasty", "\x1b]0;owned\x07\n");
    assert!(!shown(&room, &nasty).await.contains('\x1b'));
}

#[tokio::test]
async fn attributes_are_shown_as_they_change() {
    let room = Room::new();
    room.write("/f", "same\n");
    room.sequence(vec![attributes("/f", Some(0o644), None, None)]).await;
    assert_eq!(shown(&room, &attributes("/f", Some(0o600), None, None)).await, "mode 0644 -> 0600\n");
    assert_eq!(shown(&room, &attributes("/f", Some(0o644), None, None)).await, "");
    let put = file(room.put("/f", "same\n"), |attributes, _, _, _| attributes.mode = Some(0o640));
    assert_eq!(shown(&room, &put).await, "mode 0644 -> 0640\n");
    let new = file(room.put("/g", "new\n"), |attributes, _, _, _| attributes.mode = Some(0o640));
    assert!(shown(&room, &new).await.starts_with("mode 0640\n--- /dev/null\n"));
}

#[tokio::test]
async fn the_rest_is_a_line_or_two() {
    let room = Room::new();
    room.write("/t/a", "12345");
    room.write("/t/b/c", "1");
    room.sequence(vec![link("/l", "old")]).await;
    let text = shown(&room, &remove("/t", true)).await;
    assert_eq!(text, "- /t/ with 2 files, 1 directories and 0 other entries, 6 bytes\n");
    assert_eq!(shown(&room, &remove("/t/a", false)).await, "- /t/a (5 bytes)\n");
    assert_eq!(shown(&room, &link("/l", "new")).await, "-/l -> old\n+/l -> new\n");
    assert_eq!(shown(&room, &directory("/d", false)).await, "+ /d/\n");
    assert!(shown(&room, &exec(&["/bin/echo", "a b"])).await.starts_with("/bin/echo 'a b'\n"));
    let over = shown(&room, &room.put("/l", "file\n")).await;
    assert!(over.starts_with("- symbolic link to old\n"), "{over}");
    assert!(room.read("/t/a") == "12345", "a preview only looks");
}

#[tokio::test]
async fn whatever_else_an_effect_does_is_shown_before_the_diff() {
    let room = Room::new();
    let put = file(room.put("/etc/app.conf", "a = 1\n"), |_, parents, backup, validate| {
        *parents = true;
        *backup = Some(".old".into());
        *validate = Some(["/bin/check", "-c", "a b", "%s"].map(String::from).to_vec());
    });
    assert_eq!(
        shown(&room, &put).await,
        "runs first: /bin/check -c 'a b' %s\n\
         keeps the old file as /etc/app.conf.old\n\
         makes missing directories above\n\
         --- /dev/null\n+++ b/etc/app.conf\n@@ -0,0 +1 @@\n+a = 1\n"
    );
    assert_eq!(shown(&room, &directory("/a/b", true)).await, "makes missing directories above\n+ /a/b/\n");
}

#[tokio::test]
async fn a_command_is_shown_with_all_that_it_is_given() {
    let room = Room::new();
    let mut run = exec(&["/bin/echo", "a b"]);
    if let EffectBody::Exec { cwd, env, timeout_ms, .. } = &mut run.body {
        *cwd = Some("/srv".into());
        *env = vec![("LEVEL".into(), "very high".into()), ("EMPTY".into(), String::new())];
        *timeout_ms = 7_000;
    }
    let expected = "LEVEL='very high' EMPTY='' /bin/echo 'a b'\n  in /srv\n  for 7000 ms at most\n";
    assert_eq!(shown(&room, &run).await, expected);
}

#[tokio::test]
async fn no_word_of_a_command_begins_a_line_of_its_own() {
    let room = Room::new();
    let fake = "x\n--- a/etc/motd\n+harmless";
    let put = file(room.put("/f", "same\n"), |_, _, _, validate| {
        *validate = Some(vec!["/bin/check".into(), fake.into()]);
    });
    let mut run = exec(&["/bin/echo", fake]);
    if let EffectBody::Exec { env, .. } = &mut run.body {
        env.push(("LEVEL".into(), fake.into()));
    }
    for effect in [put, run] {
        let text = shown(&room, &effect).await;
        assert!(text.contains("harmless") && !text.contains("\n+harmless"), "{text}");
    }
}
