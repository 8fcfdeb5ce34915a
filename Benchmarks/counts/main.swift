// Runs one hot path a given number of times on fixed shapes, so that its instructions can be counted: the difference of
// two counts is the path's, without start and set-up. It measures and decides nothing; check.py drives it.
//
// One thread and the portable kernels everywhere: counting tools need not know newer instructions, and the count is the
// same on every machine of an architecture.

import Glibc
import SwerveCore
import SwerveEngine
import SwerveHardware
import SwerveInference
import SwerveScheduling
import SwerveText

func fail(_ message: String) -> Never {
  let line = message + "\n"
  _ = line.withCString { write(2, $0, strlen($0)) }
  exit(2)
}

let arguments = CommandLine.arguments
if arguments.count == 2, arguments[1] == "list" {
  for path in HotPath.all { print(path.name) }
} else if arguments.count == 3, let path = HotPath.all.first(where: { $0.name == arguments[1] }),
  let count = Int(arguments[2]), count >= 0
{
  do {
    let run = try path.prepare()
    for _ in 0..<count { try run() }
  } catch {
    fail("\(error)")
  }
} else {
  fail("usage: kernel-counts list | kernel-counts NAME COUNT")
}
