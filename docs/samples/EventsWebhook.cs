// Takes postbud's events over HTTP, with ASP.NET Core 8. Store each event where it is printed here, before the answer: an
// answer of 2xx says that you have it. WebhookSignature.cs belongs beside it.
using System.Text;
using System.Text.Json;

var secret = Encoding.UTF8.GetBytes(File.ReadAllText("webhook-secret").TrimEnd('\r', '\n'));
var seen = new HashSet<string>(); // in earnest: a table with event_id as its key, emptied after some days

var app = WebApplication.CreateBuilder(args).Build();
app.MapPost("/hooks/mail", async (HttpRequest request) =>
{
    var memory = new MemoryStream();
    await request.Body.CopyToAsync(memory);
    var body = memory.ToArray();
    if (!WebhookSignature.IsGenuine(secret, request.Headers["Postbud-Timestamp"].ToString(), body,
            request.Headers["Postbud-Signature"].ToString(), DateTimeOffset.UtcNow))
        return Results.Unauthorized();
    using (var call = JsonDocument.Parse(body))
    {
        foreach (var mail in call.RootElement.GetProperty("events").EnumerateArray())
        {
            lock (seen)
            {
                if (!seen.Add(mail.GetProperty("event_id").ToString())) continue;
            }
            // A field that does not apply is absent.
            var reference = mail.TryGetProperty("reference", out var value) ? value.GetString() : null;
            Console.WriteLine($"{mail.GetProperty("event").GetString()} {reference}");
        }
    }
    return Results.NoContent();
});
app.Run();
