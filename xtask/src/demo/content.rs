//! What the demo's repository and config hold.

/// The module's resources, which scenes edit.
pub(super) const MODULE_PATH: &str = "modules/web/web.yaml.j2";

/// The page's template, which scenes edit.
pub(super) const PAGE_PATH: &str = "modules/web/index.html.j2";

/// The file that a scene removes.
pub(super) const ABOUT_PATH: &str = "modules/web/about.yaml.j2";

/// The stack.
pub(super) const STACK: &str = "\
name: web-prod
renderer: jinja
from: /modules/web
targets: web-1
values: [/values/common.yaml, /values/prod.yaml]
on_commit: apply
on_drift: apply
";

/// The page's template.
pub(super) const PAGE: &str = "\
<h1>Hello from {{ env }}</h1>
<p>{{ owner }} looks after this page.</p>
";

/// The module's resources.
pub(super) const MODULE: &str = "\
kind: server.directory
name: www
spec: { path: /srv/www, mode: \"0755\" }
---
kind: server.file
name: index
spec:
  path: /srv/www/index.html
  mode: \"0644\"
  content: { $template: index.html.j2 }
---
kind: server.file
name: motd
spec:
  path: /etc/motd
  mode: \"0644\"
  content: |
    This machine is kept by Tidelock. Ask {{ owner }} before you change it.
";

const ABOUT: &str = "\
kind: server.file
name: about
spec:
  path: /srv/www/about.html
  mode: \"0644\"
  content: |
    <p>About {{ env }}.</p>
";

/// Every file of the first commit.
pub(super) const REPOSITORY: [(&str, &str); 6] = [
    ("envs/prod/web/stack.yaml", STACK),
    (MODULE_PATH, MODULE),
    (PAGE_PATH, PAGE),
    (ABOUT_PATH, ABOUT),
    ("values/common.yaml", "owner: the web team\n"),
    ("values/prod.yaml", "env: prod\n"),
];

/// The operator's config, for a source at this address.
pub(super) fn config(url: &str) -> String {
    format!(
        "\
[sources.infra]
url = {url:?}
branch = \"main\"

[[sources.infra.allow]]
stacks = \"envs/**\"
targets = [\"web-*\"]
kinds = [\"server.*\"]

[targets.web-1]
type = \"machine\"
root = \"machine\"

[grants.server]
targets = [\"web-*\"]
paths = [\"/etc\", \"/etc/**\", \"/srv\", \"/srv/www\", \"/srv/www/**\"]
"
    )
}
