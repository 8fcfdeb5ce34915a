import Foundation
import SwerveCore
import SwerveEngine
import Testing

/// Every topology gives the tokens and log-probabilities of one process, bit for bit, greedy and seeded, and really is one.
///
/// Continuous integration runs each topology in both types over some models; SWERVE_LONG=1 runs all over all.
@Suite(.serialized) struct TopologyIdentityTests {
  /// A topology over a model.
  struct Pair: Sendable, CustomTestStringConvertible {
    var topology: Topology
    var model: TopologyModel
    var type: EngineConfiguration.DType
    var testDescription: String { "\(topology.name): \(model.name), \(type.rawValue)" }
  }

  static let types: [EngineConfiguration.DType] = [.float32, .bfloat16]

  static func pairs(_ topologies: [Topology]) -> [Pair] {
    topologies.enumerated().flatMap { index, topology -> [Pair] in
      let models = TopologyModel.all.filter { $0.mostTensor >= topology.tensor }
      if isLong {
        return models.flatMap { model in types.map { Pair(topology: topology, model: model, type: $0) } }
      }
      // Neighbours take other models, so that all occur in both types.
      return [
        Pair(topology: topology, model: models[index % models.count], type: types[0]),
        Pair(topology: topology, model: models[(index + models.count / 2) % models.count], type: types[1]),
      ]
    }
  }

  static let pairs = pairs(Topology.all)

  @Test(arguments: pairs.indices) func everyTopologyGivesTheBitsOfOneProcess(_ place: Int) async throws {
    let pair = Self.pairs[place]
    let expected = try await TopologyModels.shared.expected(pair.model, pair.type)
    #expect(expected.allSatisfy { !$0.choices[0].tokens.isEmpty && !$0.choices[0].logprobBits.isEmpty })
    var configuration = try await TopologyModels.shared.configuration(
      pair.model, pair.type, isPacked: pair.topology.isPacked)
    try pair.topology.change(&configuration)
    let engine = try await Engine.start(configuration)
    var found = try await engine.answers(topologyRequests(pair.model))
    for index in found.indices { found[index].cachedTokens = 0 }
    await engine.stop()
    #expect(found == expected, "\(pair.testDescription)")
    check(pair, engine.statistics)
  }

  /// That it was the topology that computed.
  private func check(_ pair: Pair, _ now: EngineStatistics) {
    let name = Comment(rawValue: pair.testDescription)
    switch pair.topology.mechanism {
    case .none: #expect(now.ranks == nil && now.gather == nil && now.data.workers.isEmpty, name)
    case .ranks(let tensor, let stages): check(now, tensor: tensor, stages: stages, name)
    case .dataWorkers(let count, let microBatches):
      #expect(now.data.workers.count == count && now.data.recoveries.isEmpty, name)
      #expect(now.data.stepsByMicroBatches[microBatches - 1] > 0, name)
      #expect(
        now.data.workers.allSatisfy {
          $0.exchanges > 0 && $0.sentBytes > 0 && $0.receivedBytes > 0 && $0.kvBytes > 0 && $0.blocksUsed == 0
        }, name)
    case .tieredDataWorkers(let count):
      check(now, workers: count, name)
      #expect((now.tiers?.deviceToHostBytes ?? 0) > 0 && now.overflow.hostBlocks == 0, name)
    case .quota(let workers):
      check(now, tensor: 1, stages: 2, name)
      guard let ranks = now.ranks?.ranks, ranks.count == 2 else { return }
      // The parameter rank has its quota of its layers' keys and values, and what did not fit went over links.
      #expect(ranks[1].dataBytes > 0 && ranks[1].exchanges > 0 && ranks[1].kvBytes > 0, name)
      let share = Double(now.kvBytes - ranks[0].kvBytes) / Double(1 + workers)
      #expect(abs(Double(ranks[1].kvBytes) / share - 1) < 0.25, "\(pair.testDescription): \(ranks), \(share)")
    case .rankDataWorkers(let count, let tensor, let stages):
      check(now, tensor: tensor, stages: stages, holdsKeys: false, name)
      check(now, workers: count, name)
      // Rank 0 has its workers beside it, the others tell of theirs.
      for rank in now.ranks?.ranks.dropFirst() ?? [] { #expect(rank.dataBytes > 0 && rank.exchanges > 0, name) }
    case .ringDataWorkers(let count, let peers):
      check(now, peers: peers, name)
      check(now, workers: count, name)
    case .ring(let peers): check(now, peers: peers, name)
    case .job: Issue.record("jobs are processes of their own")
    }
  }

  private func check(_ now: EngineStatistics, workers count: Int, _ name: Comment) {
    #expect(now.data.workers.count == count && now.data.recoveries.isEmpty, name)
    #expect(now.data.workers.allSatisfy { $0.exchanges > 0 && $0.kvBytes > 0 && $0.blocksUsed == 0 }, name)
  }

  private func check(_ now: EngineStatistics, peers: Int, _ name: Comment) {
    guard let gather = now.gather else {
      Issue.record("\(name): nothing was gathered")
      return
    }
    #expect(gather.readBytes > 0 && gather.failedItems == 0, name)
    // Each rank has the same share of every layer.
    let share = Double(gather.fetchedBytes) / Double(gather.readBytes)
    let due = Double(peers) / Double(peers + 1)
    #expect(abs(share - due) < 0.15 && (share == 0) == (peers == 0), "\(name): \(gather)")
  }

  private func check(
    _ now: EngineStatistics, tensor: Int, stages: Int, holdsKeys: Bool = true, _ name: Comment
  ) {
    guard let traffic = now.ranks else {
      Issue.record("no other rank")
      return
    }
    #expect(traffic.plans >= now.steps && traffic.ranks.count == tensor * stages, name)
    for (index, rank) in traffic.ranks.enumerated() {
      #expect(rank.memoryBytes > rank.kvBytes && (rank.kvBytes > 0) == holdsKeys, name)
      #expect((rank.tensorBytes > 0) == (tensor > 1), name)
      // Ranks count down the stages: the last `tensor` of them have the first one.
      #expect((rank.stageBytes > 0) == (index < tensor * (stages - 1)), name)
    }
    // Together they have the pool once.
    let held = traffic.ranks.reduce(0) { $0 + $1.kvBytes }
    #expect(held <= now.kvBytes + now.kvBytes / 8, name)
  }

  // MARK: Packed weights

  @Test(arguments: [EngineConfiguration.Quantization.int8, .int4, .nf4])
  func roundedWeightsInAFileAreSharedToo(quantization: EngineConfiguration.Quantization) async throws {
    let model = try #require(TopologyModel.all.first { $0.mostTensor == 4 })
    var asked = try await TopologyModels.shared.configuration(model, .bfloat16, isPacked: false)
    asked.quantization = quantization
    asked.quantizationGroup = quantization == .int8 ? nil : 32
    let folder = PackedFolder()
    _ = try PackedModel(asked).write(to: folder.path, overwrites: false) { _ in }
    let requests = topologyRequests(model)
    func answers(_ configuration: EngineConfiguration) async throws -> ([Answer], RankTraffic?) {
      let engine = try await Engine.start(configuration)
      var all = try await engine.answers(requests)
      for index in all.indices { all[index].cachedTokens = 0 }
      await engine.stop()
      return (all, engine.statistics.ranks)
    }
    let expected = try await answers(asked).0
    asked.modelFolder = folder.path
    asked.loadFormat = .packed
    for (tensor, stages) in [(2, 1), (4, 1), (2, 2)] {
      asked.tensorParallelSize = tensor
      asked.pipelineParallelSize = stages
      let (found, traffic) = try await answers(asked)
      #expect(found == expected, "tp \(tensor), pp \(stages)")
      #expect(traffic?.ranks.count == tensor * stages && traffic?.ranks.allSatisfy { $0.tensorBytes > 0 } == true)
    }
  }

  @Test func aSizeThatCutsBlocksNamesThoseThatDoNot() async throws {
    let model = try #require(TopologyModel.all.first { $0.mostTensor == 4 })
    var asked = try await TopologyModels.shared.configuration(model, .bfloat16, isPacked: false)
    asked.quantization = .int8Dynamic
    let folder = PackedFolder()
    _ = try PackedModel(asked).write(to: folder.path, overwrites: false) { _ in }
    asked.quantization = .none
    asked.modelFolder = folder.path
    asked.loadFormat = .packed
    asked.tensorParallelSize = 2
    let wrong = asked
    #expect {
      _ = try StartPlan(wrong)
    } throws: {
      "\($0)".contains("possible is 1, or load the original weights") && "\($0)".contains("int8-dynamic")
    }
  }

  @Test func theChosenPairsLeaveNothingOut() {
    for type in Self.types {
      #expect(Set(Self.pairs.filter { $0.type == type }.map(\.topology.name)).count == Topology.all.count)
    }
    #expect(Set(Self.pairs.map(\.model.name)).count == TopologyModel.all.count)
    #expect(Set(Self.pairs.map { "\($0.model.name) \($0.type)" }).count >= TopologyModel.all.count * 3 / 2)
    let params = TopologyModel.all.flatMap { topologyRequests($0) }.map(\.params)
    #expect(params.contains { $0.temperature == 0 } && params.contains { $0.temperature > 0 && $0.seed != nil })
  }

  // MARK: Jobs

  static let jobs = pairs(Topology.jobs)

  @Test(.enabled(if: RankJobTests.isInstalled, "Open MPI is not installed"), arguments: jobs.indices)
  func aJobGivesTheBitsOfOneProcess(_ place: Int) async throws {
    let pair = Self.jobs[place]
    guard case .job(let tensor, let stages) = pair.topology.mechanism else { return }
    let expected = try await TopologyModels.shared.expected(pair.model, pair.type)
    let configuration = try await TopologyModels.shared.configuration(pair.model, pair.type, isPacked: false)
    let requests = topologyRequests(pair.model)
    var task: JSONObject = [
      "tensor": .int(tensor), "stages": .int(stages), "type": .string(pair.type.rawValue),
      "load_format": .string(configuration.loadFormat.rawValue),
    ]
    if let folder = configuration.modelFolder { task["folder"] = .string(folder) }
    task["requests"] = .array(
      requests.map { request in
        guard case .tokens(let prompt) = request.prompt else { return .null }
        return [
          "prompt": .array(prompt.map { .int(Int($0.rawValue)) }),
          "temperature": .double(Double(request.params.temperature)),
          "top_p": .double(Double(request.params.topP)), "seed": .int(request.params.seed ?? 0),
          "max_tokens": .int(request.params.maxTokens ?? 8),
        ]
      })
    let file = FileManager.default.temporaryDirectory.appending(path: "swerve-job-\(UUID().uuidString).json")
    defer { try? FileManager.default.removeItem(at: file) }
    try JSON.object(task).text.write(to: file, atomically: false, encoding: .utf8)
    let (code, output) = try RankJobTests.run(
      ["-np", "\(tensor * stages)", RankProcessTests.program.path, file.path()])
    #expect(code == 0, "\(output)")
    let lines = output.split(separator: "\n").map(String.init)
    let found = lines.filter { $0.hasPrefix("answer ") }
    let due = expected.map { answer in
      let tokens = answer.choices[0].tokens.map { String($0.rawValue) }.joined(separator: ",")
      return "answer \(tokens) \(answer.choices[0].logprobBits.map { String($0) }.joined(separator: ","))"
    }
    #expect(found == due, "\(pair.testDescription): \(output)")
    // What each rank told rank 0 of itself.
    let ranks = lines.filter { $0.hasPrefix("rank ") }.map { $0.split(separator: " ").compactMap { Int($0) } }
    #expect(ranks.count == tensor * stages, "\(output)")
    for rank in ranks where rank.count == 4 {
      #expect(rank[1] > 0 && (rank[2] > 0) == (tensor > 1) && (rank[3] > 0) == (rank[0] < tensor * (stages - 1)))
    }
  }
}
