//! Checks: whether a URL answers, a port takes a connection, a command ends well. They look
//! from where this process runs, and are no part of any target.

use std::error::Error as _;
use std::time::Duration;

use async_trait::async_trait;
use tidelock_model::check::Probe;
use tidelock_model::error::{Blame, Fault, tame};
use tidelock_model::port::Checker;
use tokio::net::TcpStream;

use crate::machine;

/// Asks checks over the network and by commands.
#[derive(Debug, Default)]
pub struct Checks;

#[async_trait]
impl Checker for Checks {
    async fn ask(&self, probe: &Probe, timeout_ms: u64) -> Result<(), Fault> {
        let timeout = Duration::from_millis(timeout_ms);
        match probe {
            Probe::Http(url, status) => http(url, *status, timeout).await,
            Probe::Tcp(address) => tcp(address, timeout).await,
            Probe::Exec(argv) => {
                let argv = argv.clone();
                let ran = tokio::task::spawn_blocking(move || machine::check(&argv, timeout)).await;
                ran.unwrap_or_else(|_| Err(Fault::new("panic", Blame::Host, "running a check panicked")))
            }
        }
    }
}

/// A client for each question: a check must not pass on a connection that was open before.
/// Neither proxies of the environment nor redirects lead elsewhere than the operator allowed.
async fn http(url: &str, status: Option<u16>, timeout: Duration) -> Result<(), Fault> {
    let client = reqwest::Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("tidelock/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| failed(&error.to_string()))?;
    let answer = client.get(url).send().await.map_err(|error| failed(&innermost(&error)))?;
    let is = answer.status();
    match status {
        Some(wanted) if is.as_u16() == wanted => Ok(()),
        None if is.is_success() => Ok(()),
        Some(wanted) => Err(failed(&format!("it answers {}, not {wanted}", is.as_u16()))),
        None => Err(failed(&format!("it answers {}", is.as_u16()))),
    }
}

async fn tcp(address: &str, timeout: Duration) -> Result<(), Fault> {
    match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(failed(&error.to_string())),
        Err(_) => Err(failed(&format!("no answer within {} ms", timeout.as_millis()))),
    }
}

/// What went wrong in the end: the outer errors say little more than that something did.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut last = error.source();
    let mut text = error.to_string();
    while let Some(error) = last {
        text = error.to_string();
        last = error.source();
    }
    text
}

fn failed(message: &str) -> Fault {
    Fault::new("check", Blame::Target, tame(message, 500)).retryable()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    /// A server that answers every connection with these bytes, and its address.
    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let mut request = [0; 1024];
                let _read = stream.read(&mut request).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        address
    }

    async fn ask(probe: Probe) -> Result<(), String> {
        Checks.ask(&probe, 2_000).await.map_err(|fault| fault.message)
    }

    #[tokio::test]
    async fn a_url_answers_with_what_is_wanted_or_says_what_it_answers() {
        let up = server("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(ask(Probe::Http(format!("http://{up}/health"), None)).await, Ok(()));
        let status = ask(Probe::Http(format!("http://{up}/health"), Some(200))).await;
        assert_eq!(status, Err("it answers 204, not 200".to_owned()));
        let ill = server("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(ask(Probe::Http(format!("http://{ill}/"), None)).await, Err("it answers 503".to_owned()));
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        let up = server("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(ask(Probe::Http(format!("http://{up}/"), None)).await, Err("it answers 302".to_owned()));
        assert_eq!(ask(Probe::Http(format!("http://{up}/"), Some(302))).await, Ok(()));
    }

    #[tokio::test]
    async fn a_port_takes_a_connection_or_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(ask(Probe::Tcp(address)).await, Ok(()));
        // Nobody is given this port by chance, as one that was freed may be.
        assert!(ask(Probe::Tcp("127.0.0.1:1".to_owned())).await.unwrap_err().contains("refused"));
        assert!(ask(Probe::Http("http://127.0.0.1:1/".to_owned(), None)).await.unwrap_err().contains("refused"));
    }

    #[tokio::test]
    async fn a_command_ends_well_or_says_how_it_ended_and_ends_in_time() {
        let exec = |words: &[&str]| Probe::Exec(words.iter().map(ToString::to_string).collect());
        assert_eq!(ask(exec(&["/bin/true"])).await, Ok(()));
        let ill = ask(exec(&["/bin/sh", "-c", "echo ill >&2; exit 3"])).await.unwrap_err();
        assert!(ill.contains("exit code 3: ill"), "{ill}");
        let slow = Checks.ask(&exec(&["/bin/sleep", "60"]), 200).await.unwrap_err();
        assert_eq!(slow.code, "timeout");
    }
}
