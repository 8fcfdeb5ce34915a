// Measures tokenizers, and answers the JSON-lines forms of `swerve tokenize` and `swerve detokenize` without the command.
// It must not hold anything that the product needs. compare.py drives it.

import Glibc
import SwerveCore
import SwerveText

func seconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

func fail(_ message: String) -> Never {
  let line = message + "\n"
  _ = line.withCString { write(2, $0, strlen($0)) }
  exit(2)
}

let arguments = CommandLine.arguments
guard arguments.count >= 3 else {
  fail("usage: tokenizer-benchmark tokenize|detokenize --tokenizer DIR --jsonl | measure DIR TEXT (a line on stdin: a run)")
}
do {
  if arguments[1] == "measure", arguments.count == 4 {
    // Each line read is one run, so that the other side can be measured in between.
    let loadStart = seconds()
    let tokenizer = try Tokenizer(files: ModelFiles(folder: arguments[2]))
    let load = seconds() - loadStart
    let bytes = try FileBytes(mapping: arguments[3])
    let text = bytes.withBytes { String(decoding: $0, as: UTF8.self) }
    print("{\"load_s\": \(load), \"bytes\": \(text.utf8.count)}")
    fflush(nil)
    while readLine() != nil {
      let start = seconds()
      let ids = tokenizer.encode(text, addSpecialTokens: false)
      let encoded = seconds()
      let decoded = tokenizer.decode(ids, skipSpecialTokens: false)
      let end = seconds()
      print("{\"encode_s\": \(encoded - start), \"decode_s\": \(end - encoded), \"ids\": \(ids.count), \"chars\": \(decoded.utf8.count)}")
      fflush(nil)
    }
  } else if let place = arguments.firstIndex(of: "--tokenizer"), place + 1 < arguments.count {
    let lines = TokenizerLines(try Tokenizer(files: ModelFiles(folder: arguments[place + 1])))
    while let line = readLine() {
      let bytes = Array(line.utf8)
      let answer = arguments[1] == "tokenize" ? lines.tokenize(line: bytes) : lines.detokenize(line: bytes)
      print(String(decoding: answer, as: UTF8.self))
    }
  } else {
    fail("unknown arguments")
  }
} catch {
  fail("\(error)")
}
