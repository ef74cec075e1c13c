//! Proposals as they were recorded, and what performing them does to the fake.

use super::machine::{Machine, Node};
use crate::effect::dns;
use crate::effect::network;
use crate::effect::{Attributes, Common, Exec, Link, MakeDirectory, PutFile, PutText, Remove, SetAttributes};
use crate::error::Error;

/// A recorded proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What every effect carries.
    pub common: Common,
    /// What is to be done.
    pub body: Body,
}

/// What a proposal wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the effect of the same name")]
pub enum Body {
    PutFile(PutFile),
    PutText(PutText),
    SetAttributes(SetAttributes),
    MakeDirectory(MakeDirectory),
    Link(Link),
    Remove(Remove),
    Exec(Exec),
    PutLink(network::PutLink),
    PutAddress(network::PutAddress),
    PutRoute(network::PutRoute),
    PutRule(network::PutRule),
    SetSysctl(network::SetSysctl),
    SetWireguard(network::SetWireguard),
    RemoveObject(network::RemoveObject),
    ReplaceTable(network::ReplaceTable),
    RemoveTable(network::RemoveTable),
    PutRecords(dns::PutRecords),
    RemoveRecords(dns::RemoveRecords),
    Sql(super::sql::Statement),
}

impl Body {
    /// One line, for assertions: `put-file /etc/motd`.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::PutFile(file) => format!("put-file {}", file.path),
            Self::PutText(put) => format!("put-text {}", put.path),
            Self::SetAttributes(set) => format!("set-attributes {}", set.path),
            Self::MakeDirectory(made) => format!("make-directory {}", made.path),
            Self::Link(link) => format!("link {} -> {}", link.path, link.to),
            Self::Remove(remove) if remove.tree => format!("remove-tree {}", remove.path),
            Self::Remove(remove) => format!("remove {}", remove.path),
            Self::Exec(exec) => format!("exec {}", exec.argv.join(" ")),
            Self::PutLink(put) => format!("put-link {}", put.object),
            Self::PutAddress(put) => format!("put-address {}", put.object),
            Self::PutRoute(put) => format!("put-route {}", put.object),
            Self::PutRule(put) => format!("put-rule {}", put.object),
            Self::SetSysctl(set) => format!("set-sysctl {}", set.object),
            Self::SetWireguard(set) => format!("set-wireguard {}", set.object),
            Self::RemoveObject(remove) => format!("remove {}", remove.name),
            Self::ReplaceTable(table) => format!("replace-table {}", table.name),
            Self::RemoveTable(table) => format!("remove-table {}", table.name),
            Self::PutRecords(put) => format!("put-records {}", put.set),
            Self::RemoveRecords(remove) => format!("remove {}", remove.name),
            Self::Sql(statement) => statement.text.clone(),
        }
    }
}

impl Machine {
    pub(super) fn propose(&self, proposal: Proposal) -> Result<(), Error> {
        if let Some(token) = &proposal.common.precondition
            && self.promised(token).is_none()
            && self.object_promised(token).is_none()
        {
            return Err(Error::plugin(format!("the token {token:?} was never given out")));
        }
        self.proposals.borrow_mut().push(proposal);
        Ok(())
    }

    /// Takes the proposals that were recorded since the last time.
    pub fn proposals(&self) -> Vec<Proposal> {
        self.proposals.take()
    }

    /// Performs proposals in their order, as the host would.
    ///
    /// # Errors
    /// A precondition no longer holds, or the effect cannot be done.
    pub fn perform(&self, proposals: &[Proposal]) -> Result<(), Error> {
        // All preconditions are about what was seen before the first effect.
        for proposal in proposals {
            let object = proposal.common.precondition.as_deref().and_then(|token| self.object_promised(token));
            if let Some((name, before)) = object
                && self.object(&name) != before
            {
                return Err(Error::target("changed", format!("{name} is not what it was")));
            }
            let Some((path, before)) = proposal.common.precondition.as_deref().and_then(|token| self.promised(token))
            else {
                continue;
            };
            if self.node(&path) != before {
                return Err(Error::target("changed", format!("{path} is not what it was")));
            }
        }
        proposals.iter().try_for_each(|proposal| self.do_one(&proposal.body))
    }

    fn promised(&self, token: &str) -> Option<(String, Option<Node>)> {
        let number: usize = token.strip_prefix("seen-")?.parse().ok()?;
        self.tokens.borrow().get(number).cloned()
    }

    fn do_one(&self, body: &Body) -> Result<(), Error> {
        match body {
            Body::PutLink(put) => self.put_named("link", &put.object)?,
            Body::PutAddress(put) => self.put_named("address", &put.object)?,
            Body::PutRoute(put) => self.put_named("route", &put.object)?,
            Body::PutRule(put) => self.put_named("rule", &put.object)?,
            Body::SetSysctl(set) => self.put_named("sysctl", &set.object)?,
            Body::SetWireguard(set) => self.put_named("wireguard", &set.object)?,
            Body::ReplaceTable(table) => self.put_object(&table.name, table.ruleset.clone().into()),
            Body::PutRecords(put) => self.put_set(&put.set)?,
            Body::RemoveObject(network::RemoveObject { name })
            | Body::RemoveTable(network::RemoveTable { name })
            | Body::RemoveRecords(dns::RemoveRecords { name }) => {
                self.objects.borrow_mut().remove(name);
            }
            Body::Sql(statement) => self.run_statement(statement)?,
            Body::PutFile(file) => {
                let content = self.contents.borrow().get(&file.content).cloned();
                let content = content.ok_or_else(|| Error::plugin(format!("no content {}", file.content)))?;
                self.parent(&file.path, file.parents)?;
                let node = match self.node(&file.path) {
                    Some(Node::Directory { .. }) => return Err(cannot("put a file over the directory", &file.path)),
                    Some(Node::File { mode, owner, group, content: old }) => {
                        if let Some(suffix) = &file.backup {
                            let kept = Node::File { content: old, mode, owner: owner.clone(), group: group.clone() };
                            self.put(&format!("{}{suffix}", file.path), kept);
                        }
                        Node::File { content, mode, owner, group }
                    }
                    _ => Node::file(content),
                };
                self.put(&file.path, attributed(node, &file.attributes));
            }
            Body::PutText(put) => {
                self.parent(&put.path, true)?;
                self.put(&put.path, Node::file(put.text.as_str()));
            }
            Body::SetAttributes(set) => match self.node(&set.path) {
                Some(node) => self.put(&set.path, attributed(node, &set.attributes)),
                None => return Err(cannot("set the attributes of", &set.path)),
            },
            Body::MakeDirectory(made) => {
                if self.node(&made.path).is_some() {
                    return Err(cannot("make the directory", &made.path));
                }
                self.parent(&made.path, made.parents)?;
                self.put(&made.path, attributed(Node::directory(), &made.attributes));
            }
            Body::Link(link) => {
                if matches!(self.node(&link.path), Some(node) if !matches!(node, Node::Symlink { .. })) {
                    return Err(cannot("put a link over", &link.path));
                }
                self.parent(&link.path, false)?;
                self.put(&link.path, Node::Symlink { to: link.to.clone() });
            }
            Body::Remove(remove) => {
                let below = format!("{}/", remove.path);
                let mut nodes = self.nodes.borrow_mut();
                if !remove.tree && nodes.keys().any(|path| path.starts_with(&below)) {
                    return Err(cannot("remove, for it is not empty,", &remove.path));
                }
                nodes.retain(|path, _| path != &remove.path && !path.starts_with(&below));
            }
            Body::Exec(exec) => {
                self.ran.borrow_mut().push(exec.argv.clone());
                let made = self.makes.borrow().get(&exec.argv).cloned();
                if let Some(path) = made {
                    self.put(&path, Node::file(""));
                }
            }
        }
        Ok(())
    }

    fn parent(&self, path: &str, make: bool) -> Result<(), Error> {
        let parent = path.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent });
        match self.node(parent) {
            Some(Node::Directory { .. }) => Ok(()),
            None if make => Ok(()),
            _ => Err(cannot("write, for its directory is not there,", path)),
        }
    }
}

fn attributed(node: Node, new: &Attributes) -> Node {
    let pick = |old: String, new: &Option<String>| new.clone().unwrap_or(old);
    match node {
        Node::File { content, mode, owner, group } => Node::File {
            content,
            mode: new.mode.unwrap_or(mode),
            owner: pick(owner, &new.owner),
            group: pick(group, &new.group),
        },
        Node::Directory { mode, owner, group } => Node::Directory {
            mode: new.mode.unwrap_or(mode),
            owner: pick(owner, &new.owner),
            group: pick(group, &new.group),
        },
        other => other,
    }
}

fn cannot(what: &str, path: &str) -> Error {
    Error::target("io", format!("cannot {what} {path}"))
}
