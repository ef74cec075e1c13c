//! The renderer through the test kit.

use serde_json::{Value, json};
use tidelock_sdk::testkit::{Question, Tree};
use tidelock_sdk::{Place, Problem};

use crate::Jinja;

fn only_problem(tree: &Tree) -> Problem {
    let mut found = tree.render::<Jinja>().unwrap_err().0;
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn values() -> Value {
    json!({ "site": { "name": "example", "ports": [80, 443] }, "owner": "web", "unused": 1 })
}

#[test]
fn documents_come_from_templates() {
    let tree = Tree::new([
        (
            "sites.yaml.j2",
            "{% for port in site.ports %}\n---\nkind: server.file\nname: p{{ port }}\nspec:\n  path: /etc/{{ site.name }}/{{ port }}\n  content: {{ owner | tojson }}\n{% endfor %}\n",
        ),
        ("plain.yaml", "kind: never.read"),
    ])
    .values(values());
    let rendered = tree.render::<Jinja>().unwrap();
    assert_eq!(rendered.len(), 2);
    assert_eq!(rendered[1].0["spec"], json!({"path": "/etc/example/443", "content": "web"}));
    assert_eq!(rendered[1].1, Place::file("sites.yaml.j2"));
}

#[test]
fn a_module_of_files_that_are_no_templates_says_what_is_rendered() {
    let tree = Tree::new([("stack.yaml", "name: x"), ("a.yaml", "kind: a.b"), ("sub/b.yml", "kind: a.b")]);
    let problem = only_problem(&tree);
    assert!(problem.message.contains("*.yaml.j2") && problem.message.ends_with("a.yaml and 1 more"), "{problem:?}");
    assert_eq!(problem.place, Some(Place::file("a.yaml")));
    assert!(problem.hint.unwrap().starts_with("name it a.yaml.j2, or take `renderer: jinja` out"));
    // What is there for other reasons is no mistake.
    let tree = Tree::new([("stack.yaml", "name: x"), ("values.yaml", "a: 1"), ("motd.txt", "hi")])
        .settings(json!({"$values": ["values.yaml"]}));
    assert!(tree.render::<Jinja>().unwrap().is_empty());
}

#[test]
fn only_what_is_used_is_asked_for() {
    let tree = Tree::new([
        (
            "a.yaml.j2",
            "kind: a.b\nname: {{ owner }}-{{ values.site.name }}-{{ target.labels.role }}-{{ target.facts.os }}\n",
        ),
        ("b.j2", "{{ unused }}"),
    ])
    .values(values())
    .label("role", "web")
    .label("env", "prod")
    .fact("os", "debian");
    assert_eq!(tree.render::<Jinja>().unwrap()[0].0["name"], "owner-example-web-debian".replace("owner", "web"));
    assert_eq!(
        tree.asked(),
        [
            Question::File("a.yaml.j2".into()),
            Question::Glob("**/*.{yaml,yml}.j2".into()),
            Question::Settings,
            Question::Values("/owner".into()),
            Question::Values("/site".into()),
            Question::Label("role".into()),
            Question::Fact("os".into()),
        ]
    );
}

#[test]
fn templates_are_included_imported_and_named_by_specs() {
    let tree = Tree::new([
        (
            "web/a.yaml.j2",
            "{% import '_macros.yaml.j2' as m %}\nkind: server.file\nname: {{ m.shout('x') }}\nspec:\n  path: /a\n  content: { $template: files/a.conf.j2 }\n",
        ),
        ("web/_macros.yaml.j2", "{% macro shout(x) %}{{ x | upper }}{% endmacro %}"),
        ("web/files/a.conf.j2", "server {{ target.name }}\n{% include '/lib/tail.j2' %}"),
        ("/lib/tail.j2", "owner {{ owner }} & <co>\n"),
    ])
    .values(values());
    let rendered = tree.render::<Jinja>().unwrap();
    assert_eq!(rendered.len(), 1);
    assert_eq!(rendered[0].0["name"], "X");
    assert_eq!(rendered[0].0["spec"]["content"], "server web-1\nowner web & <co>\n");
}

#[test]
fn nothing_but_templates_is_read() {
    for text in ["{% include 'secret.txt' %}", "kind: a.b\nname: x\nspec: { content: { $template: secret.txt } }"] {
        let tree = Tree::new([("a.yaml.j2", text), ("secret.txt", "s3cret")]);
        let problem = only_problem(&tree);
        assert!(problem.message.contains("does not end in .j2"), "{problem:?}");
        assert!(!tree.asked().contains(&Question::File("secret.txt".into())));
    }
}

#[test]
fn undefined_variables_are_errors_with_place_and_a_better_name() {
    let tree = Tree::new([("a.yaml.j2", "kind: a.b\nname: {{ ownre }}\n")]).values(values());
    let problem = only_problem(&tree);
    assert_eq!(problem.place, Some(Place::at("a.yaml.j2", 2, 10)), "{problem:?}");
    assert_eq!(problem.hint.as_deref(), Some("did you mean `owner`?"));
    assert!(problem.message.contains("ownre"), "{problem:?}");

    let tree = Tree::new([("a.yaml.j2", "name: {{ site.nmae }}\n")]).values(values());
    assert_eq!(only_problem(&tree).hint.as_deref(), Some("did you mean `name`?"));

    let tree = Tree::new([("a.yaml.j2", "name: {{ target.labels.rloe }}\n")]).values(values());
    assert!(only_problem(&tree).hint.is_some_and(|hint| hint.contains("labels")));
}

#[test]
fn an_error_in_an_included_template_is_placed_there() {
    let tree =
        Tree::new([("a.yaml.j2", "# one\n{% include 'b.j2' %}\n"), ("b.j2", "x\ny {{ nothing }}\n")]).values(values());
    let problem = only_problem(&tree);
    assert_eq!(problem.place.as_ref().map(|place| (place.file.as_str(), place.line)), Some(("b.j2", 2)), "{problem:?}");
    assert!(problem.message.contains("while rendering a.yaml.j2"));
}

#[test]
fn syntax_and_yaml_errors_are_told_apart() {
    let tree = Tree::new([("a.yaml.j2", "ok: 1\n{% for x in %}\n"), ("b.yaml.j2", "a: 1\nb: {{ colon }}\n")])
        .values(json!({"colon": "x: y: z"}));
    let found = tree.render::<Jinja>().unwrap_err().0;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].place.as_ref().map(|place| place.line), Some(2));
    assert!(found[1].message.contains("of the rendered text: b: x: y: z"), "{found:?}");
}

#[test]
fn endless_templates_are_stopped() {
    let tree = Tree::new([(
        "a.yaml.j2",
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}",
    )]);
    assert!(only_problem(&tree).message.contains("too long"));
    let tree = Tree::new([("a.yaml.j2", "{% include 'a.yaml.j2' %}")]);
    let problem = only_problem(&tree);
    assert!(problem.message.contains("recursion"), "{problem:?}");
}

#[test]
fn filters_write_what_config_files_need() {
    let tree = Tree::new([(
        "a.yaml.j2",
        "kind: a.b\nname: x\nspec:\n  json: {{ site | tojson | tojson }}\n  {{ site | toyaml | indent(2) }}\n  d: {{ nothing | default('none') }}\n",
    )])
    .values(values());
    let rendered = tree.render::<Jinja>().unwrap();
    let wanted =
        json!({"json": r#"{"name":"example","ports":[80,443]}"#, "name": "example", "ports": [80, 443], "d": "none"});
    assert_eq!(rendered[0].0["spec"], wanted);
}

#[test]
fn values_can_be_walked_over() {
    let tree = Tree::new([("a.yaml.j2", "kind: a.b\nname: {{ values | join('-') }}\n")]).values(values());
    assert_eq!(tree.render::<Jinja>().unwrap()[0].0["name"], "site-owner-unused");
    assert!(tree.asked().contains(&Question::Values(String::new())));
}
