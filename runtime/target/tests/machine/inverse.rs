//! Random effects, taken back by their inverses, or by the failure of their group.

use proptest::prelude::*;
use tidelock_model::effect::{Effect, PathState, Precondition};
use tidelock_model::run::EffectEnd;

use crate::support::{Room, attributes, directory, effect, link, remove, root};

const PATHS: [&str; 8] = ["/a", "/b", "/d", "/d/a", "/d/e", "/d/e/f", "/g", "/g/h"];

#[derive(Debug, Clone)]
enum Act {
    Put(usize, u8, u32),
    Set(usize, u32, u8),
    Make(usize),
    Link(usize, u8),
    Remove(usize, bool),
}

// Whoever runs the test can look into what it makes: modes keep the owner's bits.
fn act() -> impl Strategy<Value = Act> {
    let path = 0..PATHS.len();
    prop_oneof![
        4 => (path.clone(), any::<u8>(), 0o600..0o1000u32).prop_map(|(p, c, m)| Act::Put(p, c, m)),
        2 => (path.clone(), 0o700..0o7777u32, 0..3u8).prop_map(|(p, m, o)| Act::Set(p, m | 0o700, o)),
        4 => path.clone().prop_map(Act::Make),
        2 => (path.clone(), any::<u8>()).prop_map(|(p, c)| Act::Link(p, c)),
        2 => (path, any::<bool>()).prop_map(|(p, tree)| Act::Remove(p, tree)),
    ]
}

fn proposed(room: &Room, act: &Act) -> Effect {
    match act {
        Act::Put(path, content, mode) => {
            crate::support::file(room.put(PATHS[*path], &format!("content {content}")), |attributes, _, _, _| {
                attributes.mode = Some(*mode);
            })
        }
        Act::Set(path, mode, owner) => {
            let owner = root().then(|| owner.to_string());
            attributes(PATHS[*path], Some(*mode), owner.as_deref(), owner.as_deref())
        }
        Act::Make(path) => directory(PATHS[*path], false),
        Act::Link(path, to) => link(PATHS[*path], &format!("to-{to}")),
        Act::Remove(path, tree) => remove(PATHS[*path], *tree),
    }
}

/// A tree to begin with: nothing is undone well only because there was nothing.
async fn begun(start: &[Act]) -> Room {
    let room = Room::new();
    for act in start {
        room.sequence(vec![proposed(&room, act)]).await;
    }
    room
}

fn on_a_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn inverses_in_reverse_restore_the_tree(
        start in prop::collection::vec(act(), 0..12),
        acts in prop::collection::vec(act(), 1..14),
    ) {
        on_a_runtime(async {
            let room = begun(&start).await;
            let before = room.snapshot();
            let mut inverses = vec![];
            for act in &acts {
                let effect = proposed(&room, act);
                let path = effect.body.path().unwrap();
                let Ok(state) = room.machine.stat(&[path.to_owned()], true).remove(0) else { continue };
                let state = state.state;
                // A link is made in place of a link or nothing, so no single effect brings one
                // back where a file is now.
                let over_link = matches!((&effect.body, &state), (tidelock_model::effect::EffectBody::PutFile { .. }, PathState::Symlink { .. }));
                let seen = Precondition::Path { path: path.to_owned(), state: state.clone() };
                let Some(inverse) = effect.body.inverse(&seen).filter(|_| !over_link) else { continue };
                if matches!(state, PathState::File { .. }) {
                    room.contents.keep(&room.machine.content(path, 1 << 20).unwrap().unwrap());
                }
                let here = room.snapshot();
                match room.sequence(vec![room.seen(effect)]).await.remove(0) {
                    EffectEnd::Done => inverses.push(inverse),
                    EffectEnd::Failed { .. } => assert_eq!(room.snapshot(), here, "{act:?} failed and changed something"),
                    other => panic!("{act:?}: {other:?}"),
                }
            }
            for inverse in inverses.into_iter().rev() {
                let words = inverse.summary();
                assert_eq!(room.sequence(vec![effect(inverse)]).await, [EffectEnd::Done], "{words}");
            }
            assert_eq!(room.snapshot(), before);
        });
    }

    #[test]
    fn an_atomic_group_that_fails_leaves_the_tree_as_it_was(
        start in prop::collection::vec(act(), 0..14),
        acts in prop::collection::vec(act(), 1..14),
    ) {
        on_a_runtime(async {
            let room = begun(&start).await;
            let before = room.snapshot();
            let mut effects: Vec<Effect> = acts.iter().map(|act| proposed(&room, act)).collect();
            effects.push(room.put("/no/such/directory", "x"));
            let ends = room.whole(effects).await;
            assert!(ends.iter().all(|end| !matches!(end, EffectEnd::Done | EffectEnd::Unknown { .. })), "{ends:?}");
            assert_eq!(room.snapshot(), before, "{ends:?}");
        });
    }
}
