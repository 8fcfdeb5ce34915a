import SwerveCore
import SwerveSimulation
import Testing

@Suite struct TraceTests {
  @Test func `recorded requests are read and put in order`() throws {
    let classes = try classes(#"{"vip": {"tenants": ["acme"]}}"#)
    let requests = try TraceFile.requests(
      """
      {"requests": [{"arrival": 2, "prompt_tokens": 10, "output_tokens": 5, "class": "vip", "priority": -3},
                    {"arrival": 0.5, "tenant": "acme"}, {"tenant": "nobody", "prefix_tokens": 4, "prefix": 2}]}
      """, classes)
    #expect(requests.map(\.arrival) == [0, 500_000_000, 2_000_000_000])
    #expect(requests.map(\.serviceClass) == [1, 0, 0])
    #expect(requests[2].promptTokens == 10 && requests[2].outputTokens == 5 && requests[2].priority == -3)
    #expect(requests[0].prefixTokens == 4 && requests[0].prefix == 2)
  }

  @Test func `streams make requests at their rate, the same for the same seed`() throws {
    let text = """
      {"streams": [{"rate": 50, "prompt_tokens": [10, 20], "output_tokens": 7},
                   {"rate": 10, "arrivals": "bursts", "burst": 5, "start": 50, "seconds": 20, "tenant": "t"},
                   {"rate": 4, "arrivals": "uniform"}], "seconds": 100, "seed": 8}
      """
    let requests = try TraceFile.requests(text, ServiceClasses())
    #expect(requests == (try TraceFile.requests(text, ServiceClasses())))
    let fast = requests.filter { $0.outputTokens == 7 }
    #expect(abs(fast.count - 5_000) < 300)
    #expect(fast.allSatisfy { (10...20).contains($0.promptTokens) })
    let bursts = requests.filter { $0.tenant == requests.first { $0.tenant != fast[0].tenant }?.tenant }
    #expect(bursts.count % 5 == 0 && abs(bursts.count - 200) < 120)
    #expect(bursts.allSatisfy { (50 * second..<70 * second).contains($0.arrival) })
    #expect(zip(requests, requests.dropFirst()).allSatisfy { $0.arrival <= $1.arrival })
    #expect(requests.count - fast.count - bursts.count == 399)
  }

  @Test(arguments: [
    ("[]", "must be a JSON object"), ("{", "not JSON"), ("{}", "a list named requests"),
    (#"{"requests": [{"arrival": -1}]}"#, "request 0: arrival must be a number"),
    (#"{"requests": [{"prompt_tokens": 0}]}"#, "request 0: prompt_tokens must be a whole number"),
    (#"{"requests": [{"class": "gold"}]}"#, "there is no service class gold"),
    (#"{"requests": [{"prompt": 3}]}"#, "request 0 has no prompt"), (#"{"requests": [3]}"#, "must be a JSON object"),
    (#"{"streams": []}"#, "streams must be a list"), (#"{"streams": [{"rate": 0}]}"#, "rate must be"),
    (#"{"streams": [{"arrivals": "often"}]}"#, "arrivals must be"),
    (#"{"streams": [{"prompt_tokens": [5, 2]}]}"#, "the smaller first"),
    (#"{"streams": [{"class": "gold"}]}"#, "there is no service class gold"),
    (#"{"streams": [{}], "count": "many"}"#, "count must be"),
  ])
  func `a wrong trace is refused in one sentence`(text: String, sentence: String) {
    let error = #expect(throws: TraceError.self) { try TraceFile.requests(text, ServiceClasses()) }
    #expect(error?.description.contains(sentence) == true, "\(error?.description ?? "")")
  }

  @Test func `percentiles are right within a hundredth`() {
    var histogram = Histogram()
    for value in stride(from: 10_000, through: 1, by: -1) { histogram.record(Double(value) * 1e-4) }
    for rank in [1.0, 50, 90, 99, 100] {
      #expect(abs(histogram.percentile(rank) / (rank / 100) - 1) < 0.01)
    }
    #expect(histogram.count == 10_000 && abs(histogram.mean - 0.50005) < 1e-9 && histogram.largest == 1)
    #expect(Histogram().percentile(50) == 0)
  }

  @Test(arguments: [
    (#"{"a": 3}"#, "service class a must be a JSON object"), (#"{"a": {"weight": 0}}"#, "weight must be a number"),
    (#"{"a": {"ttft_ms": "fast"}}"#, "ttft_ms must be milliseconds"), (#"{"a": {"speed": 1}}"#, "has no speed"),
    (#"{"a": {"max_share": 1.5}}"#, "max_share must be"), (#"{"a": {"preempt": 1}}"#, "preempt must be true or false"),
    (#"{"a": {"tenants": ["x"]}, "b": {"tenants": ["x"]}}"#, "tenant x is in two"),
    (#"{"a": {"service_tiers": "flex"}}"#, "service_tiers must be a list"),
  ])
  func `wrong service classes are refused in one sentence each`(text: String, sentence: String) {
    let error = #expect(throws: ServiceClassError.self) { try classes(text) }
    #expect(error?.description.contains(sentence) == true, "\(error?.description ?? "")")
  }

  @Test func `requests find their class by tenant, then by tier`() throws {
    let classes = try classes(#"{"vip": {"tenants": ["acme"]}, "slow": {"service_tiers": ["flex"]}}"#)
    #expect(classes.all.map(\.name) == ["vip", "slow", "default"])
    #expect(classes.index(tenant: "acme", serviceTier: "flex") == 0)
    #expect(classes.index(tenant: "other", serviceTier: "flex") == 1)
    #expect(classes.index(tenant: nil, serviceTier: "auto") == 2)
    #expect(ServiceClasses().all.count == 1)
  }
}
