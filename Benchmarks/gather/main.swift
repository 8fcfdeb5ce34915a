// Runs one model once and says what that took: tokens, seconds, bytes gathered, resident memory. The test with a memory
// limit starts it as a child; by hand it compares gathered weights with resident ones. It must not hold anything that
// the product needs.
//
//   gather-benchmark pack CONFIG_FOLDER OUT_FOLDER            writes seeded noise in the model's shapes as packed weights
//   gather-benchmark run FOLDER packed|dummy none|nvme|host [DEPTH] [PROMPT] [OUTPUT] [BATCH]
//   gather-benchmark run FOLDER packed peers DEPTH PROMPT OUTPUT BATCH RANKS [GROUP LIMIT]
//                                          weights shared out among processes, each held to LIMIT bytes by a control
//                                          group of its own whose folder begins with GROUP
//   gather-benchmark rank                  one of those processes
//   gather-benchmark disk FILE                                GB/s of reading it past the page cache, as a ring does

import Glibc
import SwerveCore
import SwerveEngine
import SwerveHardware

func fail(_ message: String) -> Never {
  let line = message + "\n"
  _ = line.withCString { write(2, $0, strlen($0)) }
  exit(2)
}

let arguments = CommandLine.arguments

func argument(_ place: Int, default value: Int) -> Int {
  arguments.count > place ? Int(arguments[place]) ?? value : value
}

func configuration(_ folder: String) -> EngineConfiguration {
  var configuration = EngineConfiguration()
  configuration.modelFolder = folder
  configuration.modelName = folder
  configuration.skipTokenizerInit = true
  configuration.maxSequences = 32
  configuration.maxBatchedTokens = 512
  configuration.maxModelLength = 2048
  configuration.kvBlocks = 512
  configuration.enablePrefixCaching = false
  return configuration
}

/// The largest resident memory of this program so far, in bytes. (`getrusage` counts who started it as well.)
func peakResidentBytes() -> Int {
  guard let file = fopen("/proc/self/status", "r") else { return 0 }
  defer { fclose(file) }
  var line = [CChar](repeating: 0, count: 256)
  while fgets(&line, 256, file) != nil {
    let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    guard text.hasPrefix("VmHWM:") else { continue }
    return (text.split(whereSeparator: { " \t".contains($0) }).dropFirst().first.flatMap { Int($0) } ?? 0) << 10
  }
  return 0
}

func finish(_ engine: Engine, prompt: Int, output: Int, batch: Int, into result: inout JSONObject) async throws {
  let clock = ContinuousClock()
  let begin = clock.now
  let before = engine.statistics
  let (tokens, first) = try await withThrowingTaskGroup(of: (Int, [TokenID], Double).self) { group in
    for index in 0..<batch {
      group.addTask {
        var params = SamplingParams(temperature: index % 2 == 0 ? 0 : 1, maxTokens: output)
        params.seed = index
        params.ignoreEos = true
        let ids = (0..<prompt).map { TokenID(($0 * 7919 + index * 104_729) % 1000) }
        var tokens: [TokenID] = []
        var first = 0.0
        for try await event in try await engine.generate(
          GenerationRequest(id: "r\(index)", prompt: .tokens(ids), params: params))
        {
          guard case .delta(let delta) = event else { continue }
          if tokens.isEmpty { first = (clock.now - begin) / .seconds(1) }
          tokens += delta.tokens
        }
        return (index, tokens, first)
      }
    }
    var all = [[TokenID]](repeating: [], count: batch)
    var latest = 0.0
    for try await (index, tokens, first) in group {
      all[index] = tokens
      latest = max(latest, first)
    }
    return (all, latest)
  }
  let seconds = (clock.now - begin) / .seconds(1)
  let after = engine.statistics
  result["tokens"] = .array(tokens.map { .array($0.map { .int(Int($0.rawValue)) }) })
  result["first_token_s"] = .double(first)
  result["prefill_tokens_per_s"] = .double(Double(prompt * batch) / first)
  if output > 1 { result["decode_tokens_per_s"] = .double(Double((output - 1) * batch) / max(seconds - first, 1e-9)) }
  result["steps"] = .int(after.steps - before.steps)
  result["step_s"] = .double(after.stepSeconds - before.stepSeconds)
  result["gathered_bytes"] = .int((after.gather?.readBytes ?? 0) - (before.gather?.readBytes ?? 0))
  result["fetched_bytes"] = .int((after.gather?.fetchedBytes ?? 0) - (before.gather?.fetchedBytes ?? 0))
  result["stall_s"] = .double(
    Double((after.gather?.stallNanoseconds ?? 0) - (before.gather?.stallNanoseconds ?? 0)) * 1e-9)
  result["late_items"] = .int(after.gather?.lateItems ?? 0)
  result["wasted_items"] = .int(after.gather?.wastedItems ?? 0)
  result["weight_bytes"] = .int(after.weightBytes)
}

/// This program, in a group of its own where a limit is given.
func rankProgram() -> EngineConfiguration.RankProgram {
  let own = "/proc/self/exe"
  guard arguments.count > 11, let path = realpath(own, nil) else { return .init(path: own, arguments: ["rank"]) }
  defer { free(path) }
  let enter = """
    g="$0-$$" && mkdir "$g" && echo "$1" > "$g/memory.limit_in_bytes" && echo $$ > "$g/cgroup.procs" && exec "$2" rank
    """
  return .init(path: "/bin/sh", arguments: ["-c", enter, arguments[10], arguments[11], String(cString: path)])
}

func run() async throws {
  guard arguments.count >= 5 else { fail("usage: gather-benchmark run FOLDER packed|dummy none|nvme|host …") }
  var settings = configuration(arguments[2])
  settings.loadFormat = arguments[3] == "dummy" ? .dummy : .packed
  if let source = GatherConfiguration.Source(rawValue: arguments[4]) {
    var gathering = GatherConfiguration()
    gathering.source = source
    gathering.depth = argument(5, default: 2)
    if source == .peers {
      gathering.peers = argument(9, default: 2)
      settings.executor = .shm
      settings.rankProgram = rankProgram()
    }
    settings.gathering = gathering
  }
  let engine = try await Engine.start(settings) { fail($0) }
  let prompt = argument(6, default: 64)
  let output = argument(7, default: 8)
  let batch = argument(8, default: 1)
  var result = JSONObject()
  // Pages of activations and of the kernel's own are taken in a first run.
  try await finish(engine, prompt: prompt, output: 1, batch: 1, into: &result)
  try await finish(engine, prompt: prompt, output: output, batch: batch, into: &result)
  await engine.stop()
  result["peak_resident_bytes"] = .int(peakResidentBytes())
  print(JSON.object(result).text)
}

if arguments.dropFirst().first == "rank" { exit(RankProcess.run()) }
switch arguments.count > 2 ? arguments[1] : "" {
case "pack":
  guard arguments.count > 3 else { fail("usage: gather-benchmark pack CONFIG_FOLDER OUT_FOLDER") }
  do {
    var settings = configuration(arguments[2])
    settings.loadFormat = .dummy
    _ = try PackedModel(settings).write(to: arguments[3], overwrites: true) { _ in }
  } catch {
    fail("\(error)")
  }
case "run":
  do { try await run() } catch { fail("\(error)") }
case "disk":
  do {
    print("\(try DiskSpeed.measure(path: arguments[2], seconds: 3) / 1e9) GB/s")
  } catch {
    fail("\(error)")
  }
default: fail("usage: gather-benchmark pack|run|disk FOLDER …")
}
