//! Running `nft`: loading commands, and having it print. Each time confined (`confine`): it reads
//! what others wrote, and what they put into the kernel.

use std::time::Duration;

use tidelock_model::error::Fault;

use super::super::confine::{INPUT, confined};
use super::super::program::{Bounds, Program};
use super::whole;

const NFT: Program =
    Program { name: "nft", paths: &["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"], package: "nftables" };

/// What a trial may take. Half a million elements load in 4 s and 400 MB; a text that takes more is
/// a mistake or an attack.
const TRIAL: Bounds = Bounds { patience: Duration::from_secs(10), memory: Some(1 << 30) };

/// Loads commands, as one transaction.
///
/// # Errors
/// `nft`, with what it says; it is not there; it takes too long.
pub(super) fn load(commands: &str) -> Result<(), Fault> {
    confined(commands.as_bytes(), || load_input(&Bounds::default(), &[]))
}

/// Whether commands could be loaded; nothing of them is.
///
/// # Errors
/// As [`load`].
pub(super) fn check(commands: &str) -> Result<(), Fault> {
    confined(commands.as_bytes(), || load_input(&Bounds::default(), &["-c"]))
}

/// What it prints of a table; `None` where that is not there. With `-s` without counters and what
/// is left of time-outs.
///
/// # Errors
/// As [`load`].
pub(super) fn print(options: &[&str], family: &str, name: &str) -> Result<Option<String>, Fault> {
    let words = [options, &["list", "table", family, name]].concat();
    let ended = confined(b"", || NFT.run(&words, b""))?;
    if ended.success {
        return Ok(Some(ended.text()));
    }
    // The one complaint that says that the question was understood and the answer is no.
    if ended.stderr.contains("No such file or directory") {
        return Ok(None);
    }
    Err(NFT.complaint(&ended.stderr))
}

/// Loads a text into the namespace of this thread, in which nothing is yet, and says all that is
/// there then, without counters.
///
/// # Errors
/// As [`load`]; it takes more than a trial may.
pub(super) fn tried(text: &str) -> Result<String, Fault> {
    let listed = || {
        let all = NFT.run_within(&TRIAL, &["-s", "list", "ruleset"], b"")?;
        if all.success { Ok(Some(all.text())) } else { Err(NFT.complaint(&all.stderr)) }
    };
    confined(text.as_bytes(), || {
        load_input(&TRIAL, &[])?;
        Ok(whole::listed(listed)?.unwrap_or_default())
    })
}

fn load_input(bounds: &Bounds, options: &[&str]) -> Result<(), Fault> {
    let words = [options, &["-f", INPUT]].concat();
    let ended = NFT.run_within(bounds, &words, b"")?;
    if ended.success { Ok(()) } else { Err(NFT.complaint(&ended.stderr)) }
}

#[cfg(test)]
mod tests {
    use super::super::super::namespace::Namespace;
    use super::*;

    fn alone(text: &str) -> Result<String, Fault> {
        Namespace::fresh(|| tried(text))
    }

    #[test]
    fn nft_sees_no_file_of_the_machine() {
        for file in ["/etc/shadow", "/etc/passwd", "/proc/self/environ", "/etc/hosts"] {
            let fault = alone(&format!("include \"{file}\"\n")).unwrap_err();
            let said = fault.message.to_lowercase();
            assert!(said.contains("not found") || said.contains("no such file"), "{fault}");
        }
        // Names of services and protocols are known, and none of hosts and users.
        let rule = |rule: &str| alone(&format!("table inet t {{\n chain c {{\n {rule}\n }}\n}}\n"));
        for (known, printed) in
            [("tcp dport ssh accept", "tcp dport 22"), ("meta l4proto { tcp, udp } accept", "l4proto")]
        {
            let all = rule(known).unwrap();
            assert!(all.contains(printed), "{all}");
        }
        for unknown in ["ip saddr localhost accept", "ip saddr example.org accept", "meta skuid nobody accept"] {
            assert!(rule(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn a_large_set_can_be_tried() {
        let elements: Vec<String> = (0..20_000).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect();
        let printed = alone(&format!(
            "table inet t {{\n set s {{\n type ipv4_addr\n elements = {{ {} }}\n }}\n}}\n",
            elements.join(", ")
        ));
        assert!(printed.unwrap().contains("10.0.78.31"));
    }

    #[test]
    fn what_takes_too_much_is_ended() {
        // 200,000 rules take 700 MB to load, and half a minute to print.
        let text = format!("table inet t {{\n chain c {{\n{}\n }}\n}}\n", "tcp dport 1 accept\n".repeat(400_000));
        let began = std::time::Instant::now();
        let fault = alone(&text).unwrap_err();
        assert!(matches!(fault.code.as_str(), "nft" | "limit" | "timeout"), "{fault}");
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        assert_eq!(alone("monitor\n").unwrap_err().code, "timeout");
    }
}
