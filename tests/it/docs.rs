//! What the documentation lists is what there is.

use tower_webhook::Reason;

fn document(name: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn the_troubleshooting_table_has_each_reason_with_its_status() {
    let table = document("docs/troubleshooting.md");
    for reason in Reason::ALL {
        let row = format!("| `{}` | {} |", reason.as_str(), reason.status().as_str());
        assert_eq!(table.matches(&row).count(), 1, "{row}");
    }
    assert_eq!(table.lines().filter(|line| line.starts_with("| `")).count(), Reason::ALL.len());
}

#[test]
fn each_guide_is_part_of_the_documentation() {
    let guide = document("src/guide.rs");
    for entry in std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "grafana" {
            // A dashboard and alert rules, which the guide on observability names.
            continue;
        }
        assert!(guide.contains(&format!("../docs/{name}")), "{name} is not in src/guide.rs");
    }
}
