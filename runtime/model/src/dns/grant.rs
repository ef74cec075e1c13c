//! What of a DNS server the operator gave. Part of [`Grant`](crate::grant::Grant), which asks.

use globset::GlobMatcher;

use super::{RecordType, RrsetName};
use crate::error::{Blame, Fault};
use crate::grant::{GrantDecl, glob};

/// The grants on records.
#[derive(Debug, Clone, Default)]
pub struct DnsGrant {
    records: Vec<(GlobMatcher, Vec<RecordType>)>,
}

impl DnsGrant {
    /// Adds what a declaration gives.
    ///
    /// # Errors
    /// A pattern that cannot be read; `field` is its key.
    pub(crate) fn add(&mut self, plugin: &str, decl: &GrantDecl) -> Result<(), Fault> {
        let bad =
            |why: String| Fault::new("invalid", Blame::Target, format!("grants.{plugin}.records: {why}")).at("records");
        for text in &decl.records {
            let [name, types] = text.split_whitespace().collect::<Vec<_>>()[..] else {
                let why = format!("{text:?} is not a name and its types, such as `www.example.com A,AAAA`");
                return Err(bad(why));
            };
            let types = match types {
                "*" => RecordType::ALL.to_vec(),
                list => list.split(',').map(str::parse).collect::<Result<_, String>>().map_err(bad)?,
            };
            let name = if name == "." { name } else { name.strip_suffix('.').unwrap_or(name) };
            let pattern = glob(&turned(&name.to_lowercase()), true).map_err(|fault| bad(fault.message))?;
            self.records.push((pattern, types));
        }
        Ok(())
    }

    /// Whether a set is open; else the key and the value that would open it.
    pub(crate) fn opens(&self, rrset: &RrsetName) -> Result<(), (&'static str, String)> {
        let name = rrset.name.strip_suffix('.').filter(|name| !name.is_empty()).unwrap_or(&rrset.name);
        let turned = turned(name);
        let open = self.records.iter().any(|(names, types)| types.contains(&rrset.kind) && names.is_match(&turned));
        if open { Ok(()) } else { Err(("records", format!("{} {}", globset::escape(name), rrset.kind))) }
    }
}

/// Dots become slashes, at which `*` stops. A backslash is one of a name, never of a pattern.
fn turned(name: &str) -> String {
    let turn = |c| match c {
        '.' => '/',
        '\\' => '%',
        c => c,
    };
    name.chars().map(turn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::{Access, Grant};

    fn grant(records: &[&str]) -> Result<Grant, Fault> {
        let decl = GrantDecl { records: records.iter().map(ToString::to_string).collect(), ..GrantDecl::default() };
        Grant::new("network", "ns1", [&decl], vec![])
    }

    #[test]
    fn what_is_granted_is_open_and_nothing_beside_it() {
        let grant = grant(&["www.example.com A,AAAA", "*.dyn.example.com. *", "**.lab.example.com TXT"]).unwrap();
        let seen = |text: &str| grant.decide(Access::Records(&text.parse().unwrap()));
        for open in ["www.example.com./A", "www.example.com./AAAA", "h1.dyn.example.com./PTR", "lab.example.com./TXT"] {
            seen(&format!("rrset:example.com./{open}")).unwrap_or_else(|fault| panic!("{open}: {fault}"));
        }
        seen("rrset:example.com./a.b.lab.example.com./TXT").unwrap();
        for (shut, line) in [
            ("www.example.com./TXT", "records = [\"www.example.com TXT\"]"),
            ("www2.example.com./A", "records = [\"www2.example.com A\"]"),
            ("dyn.example.com./A", "records = [\"dyn.example.com A\"]"),
            ("a.b.dyn.example.com./A", "records = [\"a.b.dyn.example.com A\"]"),
            ("example.com./A", "records = [\"example.com A\"]"),
            ("*.example.com./A", "records = [\"[*].example.com A\"]"),
        ] {
            let fault = seen(&format!("rrset:example.com./{shut}")).unwrap_err();
            assert!(fault.code == "denied" && fault.hint.as_ref().unwrap().ends_with(line), "{shut}: {fault:?}");
        }
    }

    #[test]
    fn what_a_hint_says_to_paste_opens_that_and_nothing_else() {
        for name in ["*.example.com.", "0\\04725.example.com.", "www.example.com."] {
            let rrset = RrsetName::new("example.com.", name, RecordType::A).unwrap();
            let (_, value) = DnsGrant::default().opens(&rrset).unwrap_err();
            let pasted = grant(&[&value]).unwrap();
            assert!(pasted.decide(Access::Records(&rrset)).is_ok(), "{value}");
            let other = RrsetName::new("example.com.", "other.example.com.", RecordType::A).unwrap();
            assert!(pasted.decide(Access::Records(&other)).is_err(), "{value}");
        }
    }

    #[test]
    fn a_grant_that_cannot_be_meant_is_refused() {
        for text in ["www.example.com", "www.example.com A AAAA", "www.example.com SOA", "a[ A", ""] {
            let fault = grant(&[text]).unwrap_err();
            assert!(fault.code == "invalid" && fault.message.contains("grants.network.records"), "{text}: {fault}");
        }
    }
}
