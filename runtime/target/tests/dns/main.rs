//! DNS servers, as the target sees them.

mod hostile;
