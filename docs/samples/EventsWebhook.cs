// Takes postbud's events over HTTP, with ASP.NET Core 8. Store each event where it is printed here, before the answer: an
// answer of 2xx says that you have it.
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

var secret = Encoding.UTF8.GetBytes(File.ReadAllText("webhook-secret").TrimEnd('\r', '\n'));
var seen = new HashSet<string>(); // in earnest: a table with event_id as its key, emptied after some days

var app = WebApplication.CreateBuilder(args).Build();
app.MapPost("/hooks/mail", async (HttpRequest request) =>
{
    using var memory = new MemoryStream();
    await request.Body.CopyToAsync(memory);
    var body = memory.ToArray();
    if (!Signature.IsGenuine(secret, request.Headers["Postbud-Timestamp"].ToString(), body,
            request.Headers["Postbud-Signature"].ToString(), DateTimeOffset.UtcNow))
        return Results.Unauthorized();
    using var call = JsonDocument.Parse(body);
    foreach (var mail in call.RootElement.GetProperty("events").EnumerateArray())
    {
        lock (seen)
        {
            if (!seen.Add(mail.GetProperty("event_id").GetString()!)) continue;
        }
        var reference = mail.TryGetProperty("reference", out var value) ? value.GetString() : null;
        Console.WriteLine($"{mail.GetProperty("event").GetString()} {reference}");
    }
    return Results.NoContent();
});
app.Run();

static class Signature
{
    static readonly TimeSpan Oldest = TimeSpan.FromMinutes(5);

    /// True if postbud signed these octets lately. The body is taken as it came, before anything parses it.
    public static bool IsGenuine(byte[] secret, string timestamp, byte[] body, string signature, DateTimeOffset now)
    {
        if (!long.TryParse(timestamp, System.Globalization.NumberStyles.None, null, out var seconds)) return false;
        if (Math.Abs(now.ToUnixTimeSeconds() - seconds) > (long)Oldest.TotalSeconds) return false;
        var signed = Encoding.ASCII.GetBytes(timestamp + ".").Concat(body).ToArray();
        var expected = "v1=" + Convert.ToHexString(HMACSHA256.HashData(secret, signed)).ToLowerInvariant();
        return CryptographicOperations.FixedTimeEquals(Encoding.ASCII.GetBytes(expected), Encoding.ASCII.GetBytes(signature));
    }
}
