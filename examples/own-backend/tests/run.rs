//! The example does what it says.

use std::process::Command;

#[test]
fn a_backend_of_ones_own_is_measured() {
    let place = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("own-backend");
    let removed = std::fs::remove_dir_all(&place);
    assert!(removed.is_ok() || !place.exists());
    std::fs::create_dir_all(&place).unwrap_or_else(|e| panic!("{e}"));
    let output = Command::new(env!("CARGO_BIN_EXE_own-backend"))
        .args(["run", "quick", "--quick", "--backend", "own"])
        .args(["--variant", "default", "--variant", "full-snapshot"])
        .args(["--dir", "data", "--machine", "test"])
        .current_dir(&place)
        .output()
        .unwrap_or_else(|e| panic!("{e}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("quick on own, durability disk"), "{said}");
    let verified = said
        .lines()
        .find(|line| line.contains("every state was read back"));
    assert!(
        verified.is_some_and(|line| line.contains(" met ")),
        "{said}"
    );
}
