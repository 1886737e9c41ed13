//! scratch
use lockstep_consensus::sim::tank::*;
fn main(){ let a: Vec<String> = std::env::args().collect(); let from: u64=a[1].parse().unwrap(); let n: u64=a[2].parse().unwrap();
 let mut o = TankOptions::default(); if a.len()>3 { o.fault_phase_ns = a[3].parse::<i64>().unwrap()*1_000_000; }
 let mut bad=0; for s in from..from+n { match std::panic::catch_unwind(|| run(s,&o)) { Ok(Ok(r)) => if n<20 {println!("{s} {r:?}")}, Ok(Err(v)) => {bad+=1; println!("{v}")}, Err(_) => {bad+=1; println!("seed {s} panicked")} } } println!("bad {bad} of {n}"); }
