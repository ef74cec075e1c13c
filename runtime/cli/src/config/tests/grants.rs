//! Grants that cannot be meant.

use super::*;

#[test]
fn a_mistake_in_a_grant_is_shown_at_its_key_with_how_that_is_written() {
    for (key, value) in [
        ("paths", r#"["/etc/["]"#),
        ("exec", r#"[["nginx"]]"#),
        ("exec_read", r#"[["nginx"]]"#),
        ("env", r#"["["]"#),
        ("databases", r#"["["]"#),
        ("sql", r#"["["]"#),
        ("privileges", r#"["root"]"#),
        ("links", r#"["["]"#),
        ("addresses", r#"["10.0.0.1/8"]"#),
        ("routes", r#"["here"]"#),
        ("rules", r#"["low"]"#),
        ("sysctls", r#"["["]"#),
        ("tables", r#"["inet"]"#),
        ("wireguard", r#"["["]"#),
        ("records", r#"["www"]"#),
    ] {
        let told = complaint(&format!("[grants.a]\ntargets = [\"*\"]\n{key} = {value}\n"));
        assert!(told.contains(&format!("3 | {key} = ")), "{told}");
        assert!(told.contains(&format!("write it as: {key} = [")), "{told}");
    }
}

#[test]
fn a_class_of_sql_that_does_not_exist_is_refused_with_the_list() {
    let told = complaint("[grants.postgres]\ntargets = [\"db\"]\nsql = [\"rolle:shop*\"]\n");
    assert!(told.contains("\"rolle\" in \"rolle:shop*\" is no class") && told.contains("default-privileges"), "{told}");
    assert!(told.contains("3 | sql = "), "{told}");
}
