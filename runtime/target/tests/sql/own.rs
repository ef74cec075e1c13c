//! Changes to the role that we sign in as: who may not look at verifiers is kept in as well.

use tidelock_model::config::{Given, Kept, ServerDecl};
use tidelock_model::effect::Effect;
use tidelock_model::port::Target as _;
use tidelock_model::run::EffectEnd;
use tidelock_model::sql::{Act, Part, SecretForm, Statement, Verb};
use tidelock_target::sql::Server;

use crate::support::{Bed, NoBlobs, SECRET, effect, execute, fault, grant, object, perform, private};

fn own_password() -> Effect {
    let secret = Part::Secret { name: "app/password".into(), form: SecretForm::Verifier };
    let parts = vec![Part::Text("PASSWORD".into()), secret];
    effect(None, Act::Execute(Statement { verb: Verb::Alter, object: object("role", &["limited"]), parts }))
}

/// Makes `limited`, who may make roles and look at no verifier.
fn limited() -> Bed {
    let bed = Bed::new();
    bed.postgres.psql("postgres", "CREATE ROLE limited LOGIN CREATEROLE PASSWORD 'the first one'");
    private(&bed.folder.path().join("first"), "the first one");
    private(&bed.folder.path().join("second"), SECRET);
    bed
}

/// Signs in as `limited` with what files hold.
fn with(bed: &Bed, password: &str, next: Option<&str>) -> Server {
    let decl = ServerDecl {
        user: Some(Given::Literal("limited".into())),
        password: Some(Kept::File(password.into())),
        next_password: next.map(|file| Kept::File(file.into())),
        ..bed.decl()
    };
    bed.server_with(decl, grant(&["**"], &["*"]))
}

#[tokio::test]
async fn a_password_that_would_keep_us_out_is_put_back_and_the_rest_stands() {
    let bed = limited();
    let server = with(&bed, "first", None);
    let effects = vec![execute(Verb::Create, "role", &["a"], None, ""), own_password()];
    let shown = server.preview(&effects[1], &NoBlobs).await.unwrap().text;
    assert!(shown.starts_with("own-access: Tidelock itself signs in as limited"), "{shown}");
    assert_eq!(server.preview(&effects[0], &NoBlobs).await.unwrap().text, "");
    let ends = perform(&server, effects).await;
    assert_eq!(ends[0], EffectEnd::Done);
    let fault = fault(&ends[1]);
    assert!(fault.code == "own-access" && fault.message.contains("password authentication failed"), "{fault}");
    // Whoever comes anew is let in as before.
    assert_eq!(with(&bed, "first", None).facts().await.unwrap().acts_as, "limited");
}

#[tokio::test]
async fn a_target_that_has_the_next_password_is_let_in_before_and_after() {
    let bed = limited();
    assert_eq!(perform(&with(&bed, "first", Some("second")), vec![own_password()]).await, [EffectEnd::Done]);
    for (password, next) in [("first", Some("second")), ("second", Some("first")), ("second", None)] {
        assert_eq!(with(&bed, password, next).facts().await.unwrap().acts_as, "limited", "{password}, {next:?}");
    }
    assert_eq!(with(&bed, "first", None).facts().await.unwrap_err().fault.code, "auth");
}

#[tokio::test]
async fn whoever_looks_for_us_is_not_dropped() {
    let bed = limited();
    bed.postgres.psql("postgres", "CREATE ROLE reader LOGIN PASSWORD 'the reader''s own'");
    let decl = ServerDecl { read: Some(bed.reader("reader", "the reader's own")), ..bed.decl() };
    let server = bed.server_with(decl, grant(&["**"], &["*"]));
    let gone = execute(Verb::Drop, "role", &["reader"], None, "");
    let shown = server.preview(&gone, &NoBlobs).await.unwrap().text;
    assert!(shown.starts_with("own-access: Tidelock itself signs in as reader"), "{shown}");
    let ends = perform(&server, vec![execute(Verb::Create, "role", &["a"], None, ""), gone]).await;
    let fault = fault(&ends[1]);
    assert!(fault.code == "own-access" && fault.message.contains("reader, and could not any more"), "{fault}");
    assert!(server.reader().await.unwrap().is_some(), "it is let in as before");
}
