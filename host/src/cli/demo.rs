//! stub
use super::Failure;
/// x
#[derive(clap::Args)]
pub struct Demo {}
impl Demo {
    /// x
    /// # Errors
    pub async fn run(self) -> Result<(), Failure> {
        Ok(())
    }
}
