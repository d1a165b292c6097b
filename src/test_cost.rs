//! Measures the cost of parsers of strangers' data in processor instructions, counted by valgrind's callgrind, so the result is the same on
//! every machine and under any load. Cost may grow linearly with the size of an input, but not faster, whatever the input looks like.
//!
//! A test calls [`is_linear`], which runs the test again under callgrind. There each input is parsed in three sizes.

use std::hint::black_box;
use std::process::Command;

use crate::test_skip::skip;

/// Sizes for records that are limited to a few thousand octets.
pub const SHORT: [usize; 3] = [500, 1_000, 2_000];
/// Sizes for all longer inputs.
pub const LONG: [usize; 3] = [2_000, 4_000, 8_000];

/// A shape of input: its name, and a function that makes it in a size.
pub type Shape<T> = (&'static str, fn(usize) -> T);

/// The maximum growth of the cost for twice the size: double, and a little more for a sort. Quadratic cost would grow by four.
const MOST_GROWTH: f64 = 2.7;
/// Differences in instructions that are ignored: one allocation more or less, a hash map that happens to grow.
const NOISE: f64 = 40_000.0;
/// The variable that marks the second run.
const COUNTED: &str = "POSTBUD_COUNTED";

/// Checks that the cost of `work` is at most proportional to its input, for each shape of input, in three sizes.
///
/// # Panics
/// Panics if the cost grows faster. Call it once per test, from the test's own thread, which has its name.
pub fn is_linear<T>(sizes: [usize; 3], work: impl Fn(&T), shapes: &[Shape<T>]) {
    if std::env::var_os(COUNTED).is_some() {
        // Do one-time setup before counting.
        shapes.iter().for_each(|(_, make)| work(&make(sizes[0])));
        for (_, make) in shapes {
            for size in sizes {
                let input = make(size);
                counted_by_callgrind(&mut || work(black_box(&input)));
            }
        }
        return;
    }
    let Some(costs) = costs() else { return };
    assert_eq!(costs.len(), 3 * shapes.len(), "one cost for each input");
    for ((shape, _), cost) in shapes.iter().zip(costs.chunks_exact(3)) {
        let [small, middle, large] = [cost[0], cost[1], cost[2]];
        let (growth, more) = (middle - small, large - middle);
        assert!(more <= MOST_GROWTH * growth.max(0.0) + NOISE, "{shape}: {cost:?} instructions for {sizes:?} octets");
    }
}

/// Counts the instructions of the work. Callgrind writes a count at its end.
#[inline(never)]
fn counted_by_callgrind(work: &mut dyn FnMut()) {
    work();
}

/// Runs the calling test under callgrind and returns the cost of each call of [`counted_by_callgrind`], in order. Returns `None` if
/// valgrind is not installed.
fn costs() -> Option<Vec<f64>> {
    let test = std::thread::current().name().expect("a test's thread bears its name").to_owned();
    if Command::new("valgrind").arg("--version").output().is_err() {
        skip(&test, "valgrind is not installed");
        return None;
    }
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let counts = dir.path().join("counts");
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--toggle-collect=*test_cost::counted_by_callgrind",
            "--dump-after=*test_cost::counted_by_callgrind",
        ])
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(std::env::current_exe().expect("a test knows its program"))
        .args(["--exact", &test, "--nocapture"])
        .env(COUNTED, "1")
        .output()
        .expect("valgrind was there a moment ago");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let count = |number: usize| {
        let text = std::fs::read_to_string(counts.with_extension(number.to_string())).ok()?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "))?;
        total.trim().parse().ok()
    };
    // The last file covers the end of the program.
    let counts: Vec<f64> = (1..).map_while(count).collect();
    Some(counts.into_iter().take_while(|count| *count > 0.0).collect())
}

#[test]
fn what_grows_faster_than_its_input_is_found() {
    let caught = std::panic::catch_unwind(|| {
        is_linear(
            SHORT,
            |text: &String| {
                let mut found = Vec::new();
                for word in text.split(' ') {
                    if !found.contains(&word) {
                        found.push(word);
                    }
                }
                black_box(found);
            },
            &[("different words", |size| (0..size / 5).map(|at| format!("{at:04} ")).collect())],
        );
    });
    // Under callgrind itself nothing is judged.
    let is_judged = std::env::var_os(COUNTED).is_none() && Command::new("valgrind").arg("--version").output().is_ok();
    assert_eq!(caught.is_err(), is_judged);
}

#[test]
fn what_grows_with_its_input_passes() {
    is_linear(
        LONG,
        |text: &String| drop(black_box(text.split(' ').map(str::len).collect::<Vec<_>>())),
        &[("words", |size| "word ".repeat(size / 5)), ("blanks", |size| " ".repeat(size))],
    );
}
