//! A clock that goes on by itself.

use std::pin::Pin;
use std::sync::Mutex;

use jiff::Timestamp;
use tidelock_model::port::Clock;

/// A second later each time that it is asked.
pub(super) struct Ticking(pub(super) Mutex<i64>);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let mut second = self.0.lock().unwrap();
        *second += 1;
        Timestamp::from_second(*second).unwrap()
    }

    fn uptime(&self) -> u64 {
        *self.0.lock().unwrap() as u64
    }

    fn sleep(&self, _: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}
