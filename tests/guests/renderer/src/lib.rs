//! A renderer that does what `do` of its settings says, good or bad. `honest` makes
//! one resource of each `*.txt` file of the module.

wit_bindgen::generate!({
    path: ["../../../wit/types", "../../../wit/log", "../../../wit/tree", "../../../wit/renderer"],
    world: "tidelock:renderer/renderer-plugin",
    generate_all,
});

use std::hint::black_box;

use exports::tidelock::renderer::renderer::{Description, Guest, Place, Problem};
use tidelock::log::log;
use tidelock::renderer::{inputs, output};
use tidelock::tree::tree;

#[used]
#[unsafe(link_section = "tidelock:plugin")]
static STAMP: [u8; 68] = *br#"{"name":"painter","version":"0.1.0","api":"0.1.0","role":"renderer"}"#;

struct Renderer;

export!(Renderer);

fn rendered(document: String, file: &str) -> output::Rendered {
    output::Rendered { document, place: Place { file: file.into(), line: 1, column: 0 } }
}

fn problem(message: &str, file: &str, line: u32) -> Problem {
    Problem {
        message: message.into(),
        place: Some(Place { file: file.into(), line, column: 1 }),
        hint: Some("mend\u{1b}[2J it".into()),
        extras: vec![],
    }
}

fn word() -> String {
    let settings = inputs::settings();
    settings.split("\"do\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("honest").to_string()
}

impl Guest for Renderer {
    fn describe() -> Description {
        Description {
            name: "painter".into(),
            version: "0.1.0".into(),
            summary: "Paints".into(),
            settings_schema: r#"{"type":"object"}"#.into(),
            extras: vec![],
        }
    }

    fn render() -> Result<(), Vec<Problem>> {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location();
            log::panicked(
                info.payload_as_str().unwrap_or("?"),
                place.map_or("?", |at| at.file()),
                place.map_or(0, |at| at.line()),
            );
        }));
        match word().as_str() {
            "loop" => loop {
                black_box(0);
            },
            "panic" => panic!("no paint"),
            "grow-memory" => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            "emit-flood" => loop {
                let page: Vec<_> =
                    (0..100).map(|_| rendered(format!("{{\"x\":\"{}\"}}", "x".repeat(10_000)), "a.txt")).collect();
                // Takes the host's no in silence: the render must fail all the same.
                if output::emit(&page).is_err() {
                    return Ok(());
                }
            },
            "emit-rubbish" => drop(output::emit(&[rendered("{\u{1b}[2J".into(), "a.txt")])),
            "emit-list" => drop(output::emit(&[rendered("[]".into(), "a.txt")])),
            "emit-elsewhere" => drop(output::emit(&[rendered("{}".into(), "../../etc/passwd")])),
            "question-flood" => {
                for i in 0_u64.. {
                    black_box(inputs::label(&format!("{i}{}", "x".repeat(3000))));
                }
            }
            "climb" => {
                let found = tree::read("../../../../../../etc/passwd");
                log::log(log::Level::Info, &format!("{found:?}"));
            }
            "problems" => {
                return Err(vec![problem("bad\u{1b}[2J colour", "b.txt", 2), problem("nowhere", "../x", 1)]);
            }
            "no-problems" => return Err(vec![]),
            "host-panic" => drop(tree::read("panic")),
            "swallow" => drop(tree::read("corrupt")),
            "bad-pattern" => match tree::glob("[") {
                Err(error) => log::log(log::Level::Info, &error.message),
                Ok(names) => log::log(log::Level::Info, &format!("{names:?}")),
            },
            "inputs" => {
                let said = format!(
                    "{} {:?} {:?} {:?} {:?}",
                    inputs::target(),
                    inputs::values("/a/b"),
                    inputs::values("/nothing"),
                    inputs::label("role"),
                    inputs::fact("os"),
                );
                let said: String = said.chars().filter(|c| *c != '"' && *c != '\\').collect();
                drop(output::emit(&[rendered(format!("{{\"said\":\"{said}\"}}"), "a.txt")]));
            }
            _ => {
                for name in tree::glob("*.txt").unwrap_or_default() {
                    let text = tree::read(&name).ok().flatten().unwrap_or_default();
                    let page = [rendered(format!("{{\"name\":\"{name}\",\"size\":{}}}", text.len()), &name)];
                    if output::emit(&page).is_err() {
                        return Err(vec![]);
                    }
                }
                drop(tree::read("missing.txt"));
            }
        }
        Ok(())
    }
}
