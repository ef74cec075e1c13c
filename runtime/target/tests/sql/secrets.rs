//! Passwords: only what the server keeps of them is sent, and whether one is still the same is
//! told without anybody seeing it.

use tidelock_model::config::{Given, Kept, ServerDecl};
use tidelock_model::effect::Effect;
use tidelock_model::observation::SecretProbe;
use tidelock_model::port::Target as _;
use tidelock_model::run::EffectEnd;
use tidelock_model::secret::SecretValue;
use tidelock_model::sql::{Act, Part, SecretForm, Statement, Verb};

use crate::support::{Bed, SECRET, effect, grant, object, perform, private};

fn with_password(verb: Verb) -> Effect {
    let parts = vec![
        Part::Text("LOGIN PASSWORD".into()),
        Part::Secret { name: "app/password".into(), form: SecretForm::Verifier },
    ];
    effect(None, Act::Execute(Statement { verb, object: object("role", &["a/pp"]), parts }))
}

#[tokio::test]
async fn a_password_becomes_a_verifier_and_stands_in_no_log() {
    let bed = Bed::new();
    let server = bed.server();
    let probe = |method: &str, material: &str| SecretProbe {
        field: "/password".into(),
        method: method.into(),
        material: material.into(),
    };
    let fits = async |password: &str| {
        let value = SecretValue::new(password.into());
        server.matches(&[(&probe("sql-password", "role:a%2Fpp"), &value)]).await.remove(0).unwrap()
    };
    assert_eq!(fits(SECRET).await, Some(false), "there is no such role yet");
    assert_eq!(perform(&server, vec![with_password(Verb::Create)]).await, [EffectEnd::Done]);
    assert_eq!((fits(SECRET).await, fits("another").await), (Some(true), Some(false)));
    let (right, wrong) = (SecretValue::new(SECRET.into()), SecretValue::new(vec![0xff]));
    let [role, other, nobody, none] = [
        ("sql-password", "role:a%2Fpp"),
        ("other", "role:a%2Fpp"),
        ("sql-password", "role:x"),
        ("sql-password", "role:"),
    ]
    .map(|(method, material)| probe(method, material));
    let asked = [(&role, &right), (&other, &right), (&nobody, &right), (&none, &right), (&role, &wrong)];
    let answers: Vec<_> = server.matches(&asked).await.into_iter().map(Result::ok).collect();
    assert_eq!(answers, [Some(Some(true)), Some(None), Some(Some(false)), None, Some(Some(false))]);
    // The server itself lets the role in with it.
    let mut client = std::process::Command::new("psql");
    client.env_clear().env("PATH", "/usr/bin:/bin").env("PGPASSWORD", SECRET).env("PGSSLMODE", "require");
    client.args(["-X", "-A", "-t", "-h", "127.0.0.1", "-U", "a/pp", "-d", "postgres", "-c", "SELECT current_user"]);
    let said = client.arg("-p").arg(bed.postgres.port().to_string()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "a/pp", "{}", String::from_utf8_lossy(&said.stderr));
    let log = bed.postgres.log();
    assert!(!log.contains(SECRET) && !log.contains("g''eheim"));
    // What proves a password is as good as one: it stays out of the log, as what fails does.
    assert!(log.contains("BEGIN READ WRITE") && !log.contains("SCRAM-SHA-256$"), "{log}");
    assert!(server.quiet().await.unwrap());
    let shown = with_password(Verb::Alter).body.summary();
    assert_eq!(shown, r#"ALTER ROLE "a/pp" LOGIN PASSWORD <secret app/password>"#);
}

#[tokio::test]
async fn an_error_of_a_statement_with_a_secret_quotes_nothing() {
    let bed = Bed::new();
    let server = bed.server();
    // There is no such role, which the server says with its name.
    let ends = perform(&server, vec![with_password(Verb::Alter)]).await;
    let said = format!("{ends:?}");
    assert!(said.contains("SQLSTATE 42704") && !said.contains("SCRAM") && !said.contains("does not exist"), "{said}");
    assert!(!bed.postgres.log().contains("SCRAM-SHA-256$"));
    // Where a verifier is no password, it is not sent at all.
    for (verb, class, words) in [
        (Verb::Create, "role", "INHERIT"),
        (Verb::Create, "role", "VALID UNTIL"),
        (Verb::Comment, "role", ""),
        (Verb::Create, "database", "ENCODING"),
    ] {
        let parts =
            vec![Part::Text(words.into()), Part::Secret { name: "app/password".into(), form: SecretForm::Verifier }];
        let hostile = effect(None, Act::Execute(Statement { verb, object: object(class, &["x"]), parts }));
        let ends = perform(&server, vec![hostile]).await;
        assert!(crate::support::fault(&ends[0]).message.contains("where no password stands"), "{words}: {ends:?}");
    }
    assert!(!bed.postgres.log().contains("SCRAM-SHA-256$") || !bed.postgres.log().contains("INHERIT"));
}

#[tokio::test]
async fn who_may_not_leave_it_out_of_the_log_sets_passwords_all_the_same() {
    let bed = Bed::new();
    bed.postgres.psql("postgres", "CREATE ROLE limited LOGIN CREATEROLE PASSWORD 'its own'");
    private(&bed.folder.path().join("limited"), "its own");
    let decl = ServerDecl {
        user: Some(Given::Literal("limited".into())),
        password: Some(Kept::File("limited".into())),
        ..bed.decl()
    };
    let server = bed.server_with(decl, grant(&["**"], &["*"]));
    assert!(!server.quiet().await.unwrap());
    assert_eq!(perform(&server, vec![with_password(Verb::Create)]).await, [EffectEnd::Done]);
    assert!(bed.postgres.log().contains("SCRAM-SHA-256$"));
    bed.postgres.psql(
        "postgres",
        "GRANT SET ON PARAMETER log_statement, log_min_error_statement, log_min_duration_statement, \
         log_min_duration_sample, log_transaction_sample_rate, track_activities TO limited",
    );
    assert!(server.quiet().await.unwrap());
    let before = bed.postgres.log().len();
    assert_eq!(perform(&server, vec![with_password(Verb::Alter)]).await, [EffectEnd::Done]);
    assert!(!bed.postgres.log()[before..].contains("SCRAM-SHA-256$"));
}
