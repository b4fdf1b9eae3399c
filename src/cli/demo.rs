//! To be written.
/// x
#[derive(Debug, clap::Args)]
pub struct Args {}
/// x
/// # Errors
/// x
pub async fn run(_: Args) -> anyhow::Result<std::process::ExitCode> {
    Ok(std::process::ExitCode::SUCCESS)
}
