//! placeholder
use crate::workspace::Workspace;
use anyhow::Result;
pub(crate) fn build(_w: &Workspace) -> Result<()> {
    Ok(())
}
