//! What a parser of strangers' data costs, counted in the processor's instructions by valgrind's callgrind: the same on every
//! machine, however busy it is. Cost may grow with the size of an input and not faster, whatever the input looks like.
//!
//! A test calls [`is_linear`]. That runs the test once more under callgrind, where each input is parsed in three sizes.

use std::hint::black_box;
use std::process::Command;

use crate::test_skip::skip;

/// Sizes of records that are bounded to a few thousand octets.
pub const SHORT: [usize; 3] = [500, 1_000, 2_000];
/// Sizes of everything that may be longer.
pub const LONG: [usize; 3] = [2_000, 4_000, 8_000];

/// A shape of input: what it is called, and the input of a size.
pub type Shape<T> = (&'static str, fn(usize) -> T);

/// Twice the size costs twice as much, and a sort a little more. Four times would be quadratic.
const MOST_GROWTH: f64 = 2.7;
/// Instructions that say nothing: an allocation more or less, a hash map that happens to grow.
const NOISE: f64 = 40_000.0;
/// Tells the second run from the first.
const COUNTED: &str = "POSTBUD_COUNTED";

/// Holds that `work` costs no more than in proportion to its input, for each shape of input, which is made in three sizes.
///
/// # Panics
/// Where it does not. Call it once a test, from the test's own thread, which bears its name.
pub fn is_linear<T>(sizes: [usize; 3], work: impl Fn(&T), shapes: &[Shape<T>]) {
    if std::env::var_os(COUNTED).is_some() {
        // What is set up once costs whoever comes first.
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

/// What is called in here is counted, and a count ends with it.
#[inline(never)]
fn counted_by_callgrind(work: &mut dyn FnMut()) {
    work();
}

/// Runs the calling test under callgrind and gives what each call of [`counted_by_callgrind`] took, in order; `None` where there
/// is no valgrind.
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
    // The last file is of the end of the program.
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
