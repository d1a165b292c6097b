// Verifies that postbud signed a webhook's call. Needs nothing beside .NET, of any version.
using System;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

public static class WebhookSignature
{
    static readonly TimeSpan Oldest = TimeSpan.FromMinutes(5);

    /// True if postbud signed these octets lately. The body is taken as it came, before anything parses it; `timestamp` and `signature`
    /// are the header fields Postbud-Timestamp and Postbud-Signature as they came.
    public static bool IsGenuine(byte[] secret, string timestamp, byte[] body, string signature, DateTimeOffset now)
    {
        long seconds;
        if (!long.TryParse(timestamp, NumberStyles.None, CultureInfo.InvariantCulture, out seconds)) return false;
        if (Math.Abs(now.ToUnixTimeSeconds() - seconds) > (long)Oldest.TotalSeconds) return false;
        var head = Encoding.ASCII.GetBytes(timestamp + ".");
        var signed = new byte[head.Length + body.Length];
        head.CopyTo(signed, 0);
        body.CopyTo(signed, head.Length);
        using (var hmac = new HMACSHA256(secret))
        {
            var expected = "v1=" + BitConverter.ToString(hmac.ComputeHash(signed)).Replace("-", "").ToLowerInvariant();
            return AreEqual(Encoding.ASCII.GetBytes(expected), Encoding.UTF8.GetBytes(signature ?? ""));
        }
    }

    /// Takes as long for each wrong signature, so that nobody can guess one octet by octet.
    static bool AreEqual(byte[] expected, byte[] found)
    {
        var difference = expected.Length ^ found.Length;
        for (var i = 0; i < expected.Length; i++) difference |= expected[i] ^ (i < found.Length ? found[i] : 0);
        return difference == 0;
    }
}
